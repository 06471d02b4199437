"""Train in a SageMaker job: prepared and started here, gone on with there, fetched at the end.

A job costs money by the hour and outlives this process. So everything that can be refused is
refused before it starts, its name follows from the run's (AWS takes a name once), and the same
command finds a job that runs already and follows it.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxr.aws_schema import SageMakerCompute
from cxr.errors import AwsError, RunError
from cxr.infra import compute, interrupts
from cxr.infra.aws import Account
from cxr.infra.sagemaker import adopting, fetching, following, kept, packing, reach, request, wheels
from cxr.infra.sagemaker.kept import Kept
from cxr.infra.sagemaker.order import Order, hyperparameter, job_name

_log = logging.getLogger(__name__)
_LOG = "job.log"


class SageMaker:
    """Training jobs of one account."""

    def __init__(
        self,
        settings: SageMakerCompute,
        account: Account,
        order: Order,
        *,
        again: Callable[[str], str],
        say: Callable[[str], None],
        made_up: str | None = None,
        of_sweep: bool = False,
        begins_rest: bool = False,
    ) -> None:
        """Say what is to run where.

        Args:
            settings: conf/compute/sagemaker, filled.
            account: Whose bucket and jobs.
            order: The run.
            again: Gives the command that goes on with a run, by its name.
            say: Takes each line of the result.
            made_up: How names of runs begin that this command made up; None where one was given,
                which is leave to start another job like one that runs.
            of_sweep: The run is one of several.
            begins_rest: Of which a resume begins those that had not begun.
        """
        self._settings, self._account, self._order = settings, account, order
        self._again_by, self._say, self._made_up = again, say, made_up
        self._begins_rest = begins_rest
        self._ceiling = request.ceiling(settings, each=of_sweep)
        self._data: list[packing.Channel] = []

    def run(self, command: Callable[[Any], Any], cfg: Any) -> Any:
        """Run `command` on its config in a training job; the objective of the epoch it kept.

        With `compute.dry_run` only print what would be started.

        Args:
            command: One of this project's; it is named, not sent.
            cfg: Its config, unresolved.

        Raises:
            RunError: The job failed or was stopped, or the run's name is taken.
            AwsError: AWS refuses.
            ConfigError: There is no such machine.
        """
        order = self._order
        request.check_instance(self._settings)
        unresolved, resolved = compute.plain(cfg)
        value = hyperparameter(command.__name__, unresolved, resolved, order.name)
        with interrupts.like_ctrl_c():
            with tempfile.TemporaryDirectory(dir=order.root, prefix=".sending-") as scratch:
                if self._settings.dry_run:
                    return self._shown(value, Path(scratch))
                self._account.check()
                known = self._known(value, Path(scratch))
                if known is None:
                    known = self._start(value, Path(scratch), 1)
                elif not known.fetched:
                    known = self._again(known, value, Path(scratch))
            return self._finished(known)

    def _known(self, value: str, scratch: Path) -> Kept | None:
        """Give what is known of a job of this run, from here or from AWS."""
        order = self._order
        known = kept.read(order.folder)
        if known is None and (order.folder / "run.json").exists():
            raise RunError(
                f"name: a run called {order.name!r} was trained on this machine; choose another "
                "name" + (", or compute=local to resume it" if order.resume else "")
            )
        if known is None:
            described = following.describe(self._account, job_name(order.name, 1))
            if described is None:
                if order.resume and not self._begins_rest:
                    raise RunError(f"name: no run called {order.name!r} to resume, here or in AWS")
                return None
            known = self._found(described, value, scratch)
        if known.region != self._account.region:
            raise RunError(
                f"aws.region: {known.job} was started in {known.region}, met {self._account.region}"
            )
        if known.hyperparameter != value:
            raise RunError(
                f"name: {known.job} has other settings than these; give those it began with, or "
                "choose another name"
            )
        if known.fetched and not order.resume:
            raise RunError(
                f"name: a run called {order.name!r} is there already; choose another name"
            )
        return known

    def _found(self, described: Mapping[str, Any], value: str, scratch: Path) -> Kept:
        """Take up a job that this machine knows nothing of."""
        attempt = 1
        adopting.check(described, value, lambda: self._sources(scratch))
        while later := following.describe(self._account, job_name(self._order.name, attempt + 1)):
            adopting.check(later, value, lambda: self._sources(scratch))
            attempt += 1
        found = Kept(job_name(self._order.name, attempt), attempt, self._account.region, value)
        return found.write(self._order.folder)

    def _again(self, known: Kept, value: str, scratch: Path) -> Kept:
        """Follow a job that runs, or start its run's next one where it failed and that is meant."""
        described = following.describe(self._account, known.job)
        if described is None:  # it was noted and never taken
            return self._start(value, scratch, known.attempt)
        status = str(described["TrainingJobStatus"])
        if status in ("Failed", "Stopped"):
            if not self._order.resume:
                raise RunError(
                    f"{self._ended(described)}; add resume=true to start a new job that goes on "
                    "from its last checkpoint, or choose another name"
                )
            adopting.check_data(described, self._sources(scratch))
            return self._start(value, scratch, known.attempt + 1)
        if not self._order.resume:  # with it, following is what is asked for
            adopting.check_data(described, self._sources(scratch))
        _log.info("%s is there already (%s), and nothing new is started", known.job, status)
        return known

    def _start(self, value: str, scratch: Path, attempt: int) -> Kept:
        order, account, job = self._order, self._account, job_name(self._order.name, attempt)
        reach.check(account, self._settings, order)
        channels = self._channels(scratch)
        sources = packing.uris(channels)
        if attempt == 1 and self._made_up is not None:
            adopting.refuse_twin(
                account, order, value, sources, made_up=self._made_up, again=self._again_by
            )
        asked = request.built(self._settings, account, order, job, value, sources)
        for channel in channels:
            packing.send(account, channel, scratch, order.root)
        before = kept.read(order.folder)
        known = Kept(job, attempt, account.region, value).write(order.folder)
        try:
            with self._leaving(job):
                self._create(job, asked, value, scratch)
        except (AwsError, RunError):
            if before is None:
                (order.folder / kept.NAME).unlink(missing_ok=True)
            else:
                before.write(order.folder)
            raise
        return known

    def _create(self, job: str, asked: dict[str, Any], value: str, scratch: Path) -> None:
        """Start a job, or find that a second one of this command was as fast."""
        try:
            self._account.call("sagemaker", "create_training_job", job, **asked)
        except AwsError as error:
            met = following.describe(self._account, job) if "ResourceInUse" in str(error) else None
            if met is None:
                raise
            adopting.check(met, value, lambda: self._sources(scratch))
            _log.info("%s was started meanwhile, and is followed", job)
        else:
            _log.info("%s started: %s", job, self._ceiling)
        _log.info("whatever ends this command, follow the job by: %s", self._again_command)

    @property
    def _again_command(self) -> str:
        return self._again_by(self._order.name)

    @contextmanager
    def _leaving(self, job: str) -> Iterator[None]:
        """Say on Ctrl-C how a job is followed that goes on."""
        try:
            yield
        except KeyboardInterrupt:
            _log.warning(
                "%s goes on without being followed; follow and fetch it: %s",
                job, self._again_command,
            )  # fmt: skip
            raise

    def _sent(self, scratch: Path) -> list[packing.Channel]:
        """Prepare what is sent of labels and images, once."""
        self._data = self._data or packing.data(self._account, self._order.prepare(scratch))
        return self._data

    def _sources(self, scratch: Path) -> dict[str, str]:
        return packing.uris(self._sent(scratch))

    def _channels(self, scratch: Path, *, made: bool = True) -> list[packing.Channel]:
        data = self._sent(scratch)
        if not made:
            return [packing.code(self._account, None), *data]
        kept_wheels = self._order.root / "wheelhouses"
        with packing.alone(self._order.root):
            found = wheels.wheelhouse(self._settings.wheelhouse, kept_wheels, self._settings.python)
        return [packing.code(self._account, found), *data]

    def _finished(self, known: Kept) -> float:
        """Follow to the end, fetch, and say what came of it."""
        order, account = self._order, self._account
        if known.fetched:
            _log.info("%s is fetched already", known.job)
            return fetching.score(order)
        with self._leaving(known.job):
            described = following.follow(
                account, known.job, poll_s=self._settings.poll_s, log=order.folder / _LOG
            )
            if described["TrainingJobStatus"] != "Completed":
                raise RunError(f"{self._ended(described)}; all it logged: {order.folder / _LOG}")
            _log.info("fetching the run into %s", order.folder)
            fetching.fetch(account, order, described)
            with packing.alone(order.root):  # the first one makes the database
                run_id = fetching.imported(account, order, described)
        known.but(fetched=True, mlflow_run=run_id).write(order.folder)
        value = fetching.score(order)
        _log.info("kept %s %.3f; %s", order.objective, value, _paid(described))
        self._say(str(order.folder / "best.ckpt"))
        self._say(f"next: python -m cxr.evaluate run={order.name} data=job data.job=…")
        return value

    def _ended(self, described: Mapping[str, Any]) -> str:
        """Say how a job ended that did not complete, and fetch what it has come to: it is paid."""
        try:
            partial = fetching.partial(self._account, self._order, described)
        except AwsError as error:
            return f"{_ending(described)}; whether it left a model was not to be seen: {error}"
        if not partial:
            return _ending(described)
        name = self._order.name
        return (
            f"{_ending(described)}; partial: its best epoch until then is fetched, and python -m "
            f"cxr.evaluate run={name} data=job data.job=… scores it, without chosen thresholds"
        )

    def _shown(self, value: str, scratch: Path) -> float:
        """Print what would be started."""
        unmade = self._settings.wheelhouse is None  # nothing is built only to be shown
        sources = packing.uris(self._channels(scratch, made=not unmade))
        job = job_name(self._order.name, 1)
        asked = request.built(self._settings, self._account, self._order, job, value, sources)
        self._say(request.shown(asked))
        self._say(f"image: {request.image(self._settings, self._account.region)}")
        self._say(f"price: {self._ceiling}")
        if unmade:
            self._say(f"wheels: made at the start, hence {packing.UNMADE} in the channel code")
        self._say("nothing was sent and nothing started: compute.dry_run=true")
        return float("nan")


def _ending(described: Mapping[str, Any]) -> str:
    job, status = described["TrainingJobName"], str(described["TrainingJobStatus"]).lower()
    reason = " ".join(str(described.get("FailureReason", "")).split())
    return f"{job} {status}" + (f": {reason}" if reason else "")


def _paid(described: Mapping[str, Any]) -> str:
    trained = int(described.get("TrainingTimeInSeconds", 0))
    billed = int(described.get("BillableTimeInSeconds", trained))
    return f"{trained} s of training, {billed} s of them paid for"
