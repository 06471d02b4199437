"""Follow a training job that goes on by itself: its states, its epochs, all it says into a file."""

import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxr.errors import AwsError
from cxr.infra.aws import Account, BusyError, ExpiredError, MissingError

GROUP = "/aws/sagemaker/TrainingJobs"
OVER = ("Completed", "Failed", "Stopped")
_EPOCH = re.compile(r"epoch \d+/\d+ ")
_SIGN_IN_S = 1800.0
"""How long following waits for somebody to sign in again, or for AWS to answer."""
_SAID = {
    "Starting": "starting",
    "LaunchingMLInstances": "waiting for a machine",
    "PreparingTrainingStack": "preparing the machine",
    "Downloading": "fetching its data",
    "DownloadingTrainingImage": "fetching its image",
    "Training": "training",
    "Uploading": "uploading the model",
    "Interrupted": (
        "interrupted: AWS took the spot machine back; on the next one it goes on from its "
        "last checkpoint"
    ),
    "Restarting": "starting again",
    "MaxRuntimeExceeded": "stopped: compute.max_hours are over",
    "MaxWaitTimeExceeded": "stopped: compute.max_wait_hours are over",
}
_log = logging.getLogger(__name__)


def describe(account: Account, job: str) -> dict[str, Any] | None:
    """Give what DescribeTrainingJob says, or None where there is no such job."""
    try:
        return account.call("sagemaker", "describe_training_job", job, TrainingJobName=job)
    except MissingError:
        return None


def follow(account: Account, job: str, *, poll_s: float, log: Path) -> dict[str, Any]:
    """Wait until a job is over; one line for each new state and each epoch.

    Expired credentials and a busy or unreachable AWS are waited out: the job goes on meanwhile.

    Args:
        account: Where it runs.
        job: Its name.
        poll_s: Between two looks.
        log: Gets every line that the job logged.

    Returns:
        What DescribeTrainingJob says at the end.

    Raises:
        AwsError: It may not be asked, or nobody signed in again for half an hour.
    """
    told = _Told(account, job, log)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.write_text("")
    troubled: float | None = None
    while True:
        try:
            described = account.call("sagemaker", "describe_training_job", job, TrainingJobName=job)
            over = described["TrainingJobStatus"] in OVER
            told.states(described)
            told.lines()
        except (ExpiredError, BusyError) as error:
            if troubled is None:
                _log.warning("%s; the job goes on, and following waits", error)
            troubled = time.monotonic() if troubled is None else troubled
            if time.monotonic() - troubled > _SIGN_IN_S:
                raise
            account.fresh()
        else:
            if troubled is not None:
                _log.info("following %s again", job)
            troubled = None
            if over:
                return described
        time.sleep(poll_s)


@dataclass
class _Told:
    """What has been told of a job, so that nothing is told twice."""

    account: Account
    job: str
    log: Path
    _states: int = 0
    _tokens: dict[str, str] = field(default_factory=dict)
    _epochs: set[str] = field(default_factory=set)
    _mute: bool = False

    def states(self, described: dict[str, Any]) -> None:
        """Tell the states since the last time."""
        passed = described.get("SecondaryStatusTransitions", ())
        for state in passed[self._states :]:
            name = str(state["Status"])
            said = _SAID.get(name)
            if said:
                _log.info("%s: %s", self.job, said)
        self._states = max(self._states, len(passed))

    def lines(self) -> None:
        """Keep what the job logged since the last time, and tell its epochs."""
        if self._mute:
            return
        try:
            for line in self._new():
                with self.log.open("a") as file:
                    file.write(line + "\n")
                # each process of a distributed job says so
                if _EPOCH.match(line) and line not in self._epochs:
                    self._epochs.add(line)
                    _log.info("%s: %s", self.job, line.rstrip())
        except MissingError:
            return  # a job logs nothing before its container starts
        except (ExpiredError, BusyError):
            raise
        except AwsError as error:
            self._mute = True
            _log.warning("%s; the job is followed without its log", error)

    def _new(self) -> Iterator[str]:
        answer = self.account.call(
            "logs", "describe_log_streams", GROUP,
            logGroupName=GROUP, logStreamNamePrefix=f"{self.job}/",
        )  # fmt: skip
        for stream in answer["logStreams"]:
            name = stream["logStreamName"]
            while True:
                since = {"nextToken": self._tokens[name]} if name in self._tokens else {}
                page = self.account.call(
                    "logs", "get_log_events", name,
                    logGroupName=GROUP, logStreamName=name, startFromHead=True, **since,
                )  # fmt: skip
                for event in page["events"]:
                    yield from str(event["message"]).splitlines()
                token = page["nextForwardToken"]
                if token == self._tokens.get(name):
                    break
                self._tokens[name] = token
