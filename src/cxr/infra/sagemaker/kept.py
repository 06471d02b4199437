"""What this machine knows of a run's training job: `sagemaker.json` in the run's folder."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cxr.errors import RunError

NAME = "sagemaker.json"


@dataclass(frozen=True)
class Kept:
    """A run's newest training job.

    Attributes:
        job: Its name.
        attempt: 1 for the run's first job.
        region: Where it runs.
        hyperparameter: That it was given: its config.
        fetched: Model and run lie here.
        mlflow_run: ID of the MLflow run that was made here of the job's, or empty.
    """

    job: str
    attempt: int
    region: str
    hyperparameter: str
    fetched: bool = False
    mlflow_run: str = ""

    def write(self, folder: Path) -> "Kept":
        """Write it into a run's folder, whole or not at all, and give it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f".{NAME}.{os.getpid()}.part"
        part.write_text(json.dumps(asdict(self), indent=1) + "\n")
        part.replace(folder / NAME)
        return self

    def but(self, **changes: object) -> "Kept":
        """Give it with changes."""
        return replace(self, **changes)  # type: ignore[arg-type]


def read(folder: Path) -> Kept | None:
    """Read what a run's folder says of its job; None where it says nothing.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / NAME
    try:
        return Kept(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{path}: expected what is known of a training job ({error}); remove the file to look "
            "for the job by its name"
        ) from error


def unfetched(root: Path) -> Iterator[tuple[str, Kept]]:
    """Give name and newest job of every run below a data root that is not fetched yet."""
    for path in sorted((root / "runs").glob(f"*/{NAME}")):
        try:
            known = read(path.parent)
        except RunError:
            continue  # said when that run is asked for
        if known is not None and not known.fetched:
            yield path.parent.name, known
