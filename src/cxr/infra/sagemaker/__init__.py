"""Train in a SageMaker job: prepared and started here, gone on with there, fetched at the end.

A job costs money by the hour and outlives this process. So everything that can be refused is
refused before it starts, its name follows from the run's (AWS takes a name once), and the same
command finds a job that runs already and follows it.
"""

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cxr.aws_schema import SageMakerCompute
from cxr.errors import AwsError, RunError
from cxr.infra import compute
from cxr.infra.aws import Account
from cxr.infra.sagemaker import fetching, following, kept, packing, reach, request, wheels
from cxr.infra.sagemaker.kept import Kept
from cxr.infra.sagemaker.order import HYPERPARAMETER, Goods, Order, hyperparameter, job_name

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
        again: str,
        say: Callable[[str], None],
    ) -> None:
        """Say what is to run where.

        Args:
            settings: conf/compute/sagemaker, filled.
            account: Whose bucket and jobs.
            order: The run.
            again: The command that goes on with this run.
            say: Takes each line of the result.
        """
        self._settings, self._account, self._order = settings, account, order
        self._again_by, self._say = again, say

    def run(self, command: Callable[[Any], Any], cfg: Any) -> Any:
        """Run `command` on its config in a training job, and give the objective's best value.

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
        with tempfile.TemporaryDirectory(dir=order.root, prefix=".sending-") as scratch:
            if self._settings.dry_run:
                return self._shown(value, Path(scratch))
            self._account.check()
            known = self._known(value)
            if known is None:
                known = self._start(value, Path(scratch), 1)
            elif not known.fetched:
                known = self._again(known, value, Path(scratch))
        return self._finished(known)

    def _known(self, value: str) -> Kept | None:
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
                if order.resume:
                    raise RunError(f"name: no run called {order.name!r} to resume, here or in AWS")
                return None
            known = self._found(described, value)
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

    def _found(self, described: Mapping[str, Any], value: str) -> Kept:
        """Take up a job that this machine knows nothing of."""
        job = str(described["TrainingJobName"])
        met = described.get("HyperParameters", {}).get(HYPERPARAMETER)
        if met != value:
            raise RunError(
                f"name: a training job called {job} is in the account already, of another run; "
                "choose another name"
            )
        attempt = 1
        while (later := job_name(self._order.name, attempt + 1)) and following.describe(
            self._account, later
        ):
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
                    f"{_ending(described)}; add resume=true to start a new job that goes on from "
                    "its last checkpoint, or choose another name"
                )
            return self._start(value, scratch, known.attempt + 1)
        _log.info("%s is there already (%s), and nothing new is started", known.job, status)
        return known

    def _start(self, value: str, scratch: Path, attempt: int) -> Kept:
        order, account, job = self._order, self._account, job_name(self._order.name, attempt)
        reach.check(account, self._settings, order)
        channels = self._channels(order.prepare(scratch))
        asked = self._request(job, value, channels)
        for channel in channels:
            packing.send(account, channel, scratch, order.root)
        known = Kept(job, attempt, account.region, value).write(order.folder)
        try:
            account.call("sagemaker", "create_training_job", job, **asked)
        except AwsError as error:
            if "ResourceInUse" in str(error):  # a second one of this command was as fast
                _log.info("%s was started meanwhile, and is followed", job)
                return known
            (order.folder / kept.NAME).unlink()
            raise
        _log.info("%s started: %s", job, request.ceiling(self._settings))
        return known

    def _channels(self, goods: Goods) -> list[packing.Channel]:
        kept_wheels = self._order.root / "wheelhouses"
        with packing.alone(self._order.root):
            made = wheels.wheelhouse(self._settings.wheelhouse, kept_wheels, self._settings.python)
        return packing.channels(self._account, goods, made)

    def _request(self, job: str, value: str, channels: list[packing.Channel]) -> dict[str, Any]:
        sources = {channel.name: channel.uri for channel in channels}
        return request.built(self._settings, self._account, self._order, job, value, sources)

    def _finished(self, known: Kept) -> float:
        """Follow to the end, fetch, and say what came of it."""
        order, account = self._order, self._account
        if known.fetched:
            _log.info("%s is fetched already", known.job)
            return fetching.best(order, known.mlflow_run)
        try:
            described = following.follow(
                account, known.job, poll_s=self._settings.poll_s, log=order.folder / _LOG
            )
            if described["TrainingJobStatus"] != "Completed":
                raise RunError(f"{_ending(described)}; all it logged: {order.folder / _LOG}")
            _log.info("fetching the run into %s", order.folder)
            fetching.fetch(account, order, described)
            with packing.alone(order.root):  # the first one makes the database
                run_id = fetching.imported(account, order, described)
        except KeyboardInterrupt:
            _log.warning(
                "%s goes on without being followed; follow and fetch it: %s",
                known.job,
                self._again_by,
            )
            raise
        known.but(fetched=True, mlflow_run=run_id).write(order.folder)
        value = fetching.best(order, run_id)
        _log.info("best %s %.3f; %s", order.objective, value, _paid(described))
        self._say(str(order.folder / "best.ckpt"))
        self._say(f"next: python -m cxr.evaluate run={order.name} data=job data.job=…")
        return value

    def _shown(self, value: str, scratch: Path) -> float:
        """Print what would be started."""
        job = job_name(self._order.name, 1)
        goods, given = self._order.prepare(scratch), self._settings.wheelhouse
        if given is None:  # nothing is built or downloaded only to be shown
            channels = packing.channels(self._account, goods, None)
        else:
            channels = self._channels(goods)
        self._say(request.shown(self._request(job, value, channels)))
        self._say(f"image: {request.image(self._settings, self._account.region)}")
        self._say(f"price: {request.ceiling(self._settings)}")
        if given is None:
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
