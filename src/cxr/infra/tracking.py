"""MLflow: start a run, log to it, finish it. Tracking *is* MLflow; a URI chooses which.

No patient identifier may reach it: pass identifiers through `pseudonym`. Configs are logged
unresolved, because a resolved one may hold secrets.
"""

import json
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import new as hmac
from pathlib import Path
from typing import Any, Literal

from cxr import NOTE, root
from cxr.errors import RunError

# read when mlflow is imported, which happens in the functions below: it would report home
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# it would ask a server that is away for four minutes, each time; what is not taken is sent again
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")

_PARAM_CHARACTERS = 6000  # MLflow's own limit for one value
_AT_ONCE = 100  # MLflow's own limit for params in one call
_METRICS_AT_ONCE = 1000  # and for metrics
_UNFIT = re.compile(r"[^\w\-. :/]")
_PASSWORD = re.compile(r"//.*@")  # to the last @: a password may hold one, unquoted

_log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]


def pseudonym(identifier: str, secret: bytes) -> str:
    """Name something without identifying it: HMAC-SHA256, as 64 hex digits.

    A bare hash would not do: patient IDs are few enough to try them all.

    >>> pseudonym("PAT-1", b"key") == pseudonym("PAT-1", b"key")
    True
    >>> pseudonym("PAT-1", b"key") == pseudonym("PAT-1", b"other")
    False
    """
    return hmac(secret, identifier.encode(), sha256).hexdigest()


def secret(data_root: Path) -> bytes:
    """Read this data root's secret for `pseudonym`, making it (mode 0600) on first use."""
    return root.secret(data_root, "pseudonym.key", secrets.token_hex(32)).encode()


@dataclass(frozen=True)
class Run:
    """One MLflow run.

    Attributes:
        run_id: MLflow's.
        client: For what is not here.
    """

    run_id: str
    client: Any
    _unsent: list[Any] = field(default_factory=list, repr=False, compare=False)

    def log(self, metrics: Mapping[str, float], epoch: int = 0) -> None:
        """Log metrics of one epoch, under names MLflow takes (`score.metric_name`).

        What a store does not take now is told of, and sent again with the next ones.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._unsent.extend(Metric(k, float(v), now, epoch) for k, v in metrics.items())
        if reason := self._sent():
            _log.warning(
                "MLflow did not take the metrics of %s (%s); they are sent again with the next",
                self._epochs(), reason,
            )  # fmt: skip

    def _sent(self) -> str:
        """Send what is not sent yet, the oldest first; why it could not be, or nothing."""
        from mlflow.exceptions import MlflowException

        try:
            while self._unsent:
                batch = self._unsent[:_METRICS_AT_ONCE]
                self.client.log_batch(self.run_id, metrics=batch)  # again does no harm
                del self._unsent[: len(batch)]
        except (MlflowException, OSError, *_of_stores()) as error:
            return type(error).__name__
        return ""

    def _epochs(self) -> str:
        """Say of which epochs metrics are not sent; those of an evaluation are of none."""
        epochs = sorted({metric.step for metric in self._unsent} - {0})
        if not epochs:
            return "the evaluation"
        first, last = epochs[0], epochs[-1]
        return f"epoch {first}" if first == last else f"epochs {first} to {last}"

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file, in `folder` of the run's artifacts."""
        self.client.log_artifact(self.run_id, str(path), folder or None)

    def keep(self, path: Path, folder: str = "") -> None:
        """Keep a copy as `artifact` does; where it cannot be, say so, and lose nothing else."""
        with self.tolerating(path.name):
            self.artifact(path, folder)

    @contextmanager
    def tolerating(self, what: str) -> Iterator[None]:
        """Warn where a store refuses what is only a copy: who trained for hours keeps the model."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError, *_of_stores()) as error:
            _log.warning(
                "MLflow did not take %s (%s); it is in the run's folder", what, type(error).__name__
            )

    def uses(
        self, name: str, digest: str, source: str, context: str, profile: Mapping[str, Any]
    ) -> None:
        """Say which data went in, as MLflow's dataset input; no data goes with it.

        Args:
            name: Of the dataset, such as the labeling job's.
            digest: Of its content; MLflow keeps 36 characters.
            source: Where it is, such as a folder below the root.
            context: `training`, `validation` or `testing`.
            profile: Counts and the like, plain JSON.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            name, digest[:36], "local", json.dumps({"uri": source}), profile=json.dumps(profile)
        )
        tag = InputTag("mlflow.data.context", context)
        with self.tolerating(f"the dataset {name}"):
            self.client.log_inputs(self.run_id, [DatasetInput(data, [tag])])

    @contextmanager
    def measured(self, uri: str, every_s: float = 10.0) -> Iterator[None]:
        """Log processor, memory, disk, network and GPU while the block runs, as `system/…`."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        monitor = SystemMetricsMonitor(
            self.run_id, sampling_interval=every_s, resume_logging=True, tracking_uri=uri
        )
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    def finish(self, status: Status = "FINISHED") -> None:
        """Say how it ended, and send what a store did not take before."""
        if reason := self._sent():
            _log.warning(
                "MLflow did not take the metrics of %s (%s), and they are lost to it",
                self._epochs(), reason,
            )  # fmt: skip
            self._unsent.clear()
        self.client.set_terminated(self.run_id, status)

    @contextmanager
    def finishing(self) -> Iterator["Run"]:
        """Finish with the block: FINISHED, KILLED on Ctrl-C or SIGTERM, FAILED on all else."""
        status: Status = "FAILED"
        try:
            yield self
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status = "KILLED"
            raise
        finally:
            with self.tolerating("how the run ended"):
                self.finish(status)


def _of_stores() -> tuple[type[Exception], ...]:
    """Give what artifacts in S3 raise, where AWS's library is at work at all."""
    if "boto3" not in sys.modules:
        return ()
    from cxr.infra.aws import raised

    return raised()


def start(
    uri: str,
    experiment: str,
    name: str,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    artifacts: Path | None = None,
) -> Run:
    """Start a run.

    Args:
        uri: Tracking URI, such as `sqlite:///var/mlflow.db`.
        experiment: Its name; made if there is none.
        name: Of the run; MLflow's own would repeat after seeding.
        params: The unresolved config; nested keys are joined by dots.
        tags: Beside the note on research use.
        artifacts: Folder for artifacts of a new experiment on this machine, such as
            `root / "mlartifacts"`; None leaves it to the tracking server.

    Raises:
        RunError: The tracking server does not answer, or refuses.
    """
    from mlflow.exceptions import MlflowException

    client = opened(uri)
    try:
        known = client.get_experiment_by_name(experiment)
        location = (artifacts / experiment).absolute().as_uri() if artifacts else None
        experiment_id = (
            known.experiment_id if known else client.create_experiment(experiment, location)
        )
        all_tags = {"note": NOTE, **(tags or {})}
        run_id = client.create_run(experiment_id, run_name=name, tags=all_tags).info.run_id
        _log_params(client, run_id, params)
    except MlflowException as error:
        reason = _PASSWORD.sub("//", str(error).partition("\n")[0])
        raise RunError(f"MLflow at {shown(uri)}: {reason}") from error
    return Run(run_id, client)


def is_finished(uri: str, run_id: str) -> bool:
    """Say whether MLflow has a run as finished; False also where it does not answer."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(opened(uri).get_run(run_id).info.status == "FINISHED")
    except MlflowException:
        return False


def resume(uri: str, run_id: str) -> Run:
    """Go on with a run; its params stay as they are.

    Raises:
        RunError: There is no such run.
    """
    from mlflow.exceptions import MlflowException

    client = opened(uri)
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        raise RunError(f"MLflow at {shown(uri)} has no run {run_id!r}") from error
    return Run(run_id, client)


def shown(uri: str) -> str:
    """Give a tracking URI fit to be printed: without user, password and query.

    >>> shown("https://me:secret@mlflow.example:5000")
    'https://mlflow.example:5000'
    """
    if is_file(uri):
        return uri
    return _PASSWORD.sub("//", uri).partition("?")[0]


def is_file(uri: str) -> bool:
    """Say whether a tracking URI is a database file on this machine."""
    return uri.startswith("sqlite:")


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Join nested keys by dots; lists become JSON.

    >>> flatten({"data": {"folds": 5, "views": ["PA"]}, "name": "${model.name}"})
    {'data.folds': '5', 'data.views': '["PA"]', 'name': '${model.name}'}
    """
    flat: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple | Mapping):
            flat[f"{prefix}{key}"] = json.dumps(value, default=str)
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def opened(uri: str) -> Any:
    """Give MLflow's own client of a tracking URI."""
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    flat = [Param(_UNFIT.sub("_", k), v[:_PARAM_CHARACTERS]) for k, v in flatten(params).items()]
    for first in range(0, len(flat), _AT_ONCE):
        client.log_batch(run_id, params=flat[first : first + _AT_ONCE])
