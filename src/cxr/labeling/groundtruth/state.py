"""What this machine remembers of a job in Ground Truth: `groundtruth.json` in the job's folder.

A job is one labeling job after another: what failed or went unanswered may be offered again, as a
new one. Each stands in the file before it is asked for, so that whoever dies in between finds it
by its name and `sha`.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cxr.errors import JobError
from cxr.labeling import selection

SCHEMA = "cxr-groundtruth/1"
CREATING, COMPLETED, FAILED, STOPPED = "Creating", "Completed", "Failed", "Stopped"


@dataclass(frozen=True)
class Round:
    """One labeling job of Ground Truth's.

    Attributes:
        name: LabelingJobName.
        sha: Of all that was asked, which its tag holds too.
        base: s3:// URI below which everything of it lies.
        objects: Data objects offered.
        arn: Of the labeling job; empty until it is known to be there.
        status: LabelingJobStatus, or `Creating`.
        reason: FailureReason, or empty.
        secret: ARN of the secret in which it may still have a key of its own; empty: it has none.
        kid: Of that key.
        fetched: Whether its output is on this machine.
    """

    name: str
    sha: str
    base: str
    objects: int
    arn: str = ""
    status: str = CREATING
    reason: str = ""
    secret: str = ""
    kid: str = ""
    fetched: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in (COMPLETED, FAILED, STOPPED)

    @property
    def output(self) -> str:
        """s3:// URI of its output folder."""
        return f"{self.base}/output/{self.name}"


def read(folder: Path) -> list[Round]:
    """Give a job's rounds, the first one first; none where it was not begun.

    Raises:
        JobError: The file was made by another version, or is damaged.
    """
    path = folder / selection.GROUND_TRUTH
    if not path.exists():
        return []
    try:
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        return [Round(**one) for one in document["jobs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(f'{path}: expected "schema": "{SCHEMA}", met {error}') from error


def write(folder: Path, rounds: Sequence[Round]) -> None:
    """Write a job's rounds, whole or not at all, for their owner alone."""
    path = folder / selection.GROUND_TRUTH
    part = path.with_name(path.name + ".part")
    document = {"schema": SCHEMA, "jobs": [asdict(one) for one in rounds]}
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(document, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
