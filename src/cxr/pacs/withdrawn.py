"""Who has withdrawn: nothing of them comes in again, and no list says who they are.

`<root>/ingest/withdrawn` holds one mark per line, an HMAC of a PatientID under a secret of the
data root. Whoever wants a patient back takes the line out that a refusal names.
"""

import csv
import hmac
import io
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxr import root
from cxr.contract import manifest
from cxr.errors import PacsError
from cxr.images import deidentify
from cxr.images.dicom import Instance
from cxr.pacs import Pacs

FILE = "withdrawn"


@dataclass(frozen=True)
class Withdrawn:
    """The marks of a data root, read once; goes to other processes.

    Attributes:
        path: Of the list.
        marks: In it.
        secret: What they are made with.
    """

    path: Path
    marks: frozenset[str]
    secret: bytes

    def mark(self, patient_id: str) -> str:
        """Give what stands for a patient, or another identifier, in lists and logs.

        >>> Withdrawn(Path("withdrawn"), frozenset(), b"secret").mark("4711")
        'f53b722881c7e54fd11ca1486ab6ab07'
        """
        return hmac.digest(self.secret, patient_id.encode("utf-8", "surrogateescape"), "sha256")[
            :16
        ].hex()

    def __contains__(self, patient_id: str) -> bool:
        return self.mark(patient_id) in self.marks

    def reason(self, patient_id: str) -> str:
        """Say why a file of a patient does not come in, without saying who it is; empty: it may."""
        mark = self.mark(patient_id)
        return (
            f"the patient has withdrawn (line {mark} of {self.path})" if patient_id in self else ""
        )


@dataclass(frozen=True)
class Images:
    """What is looked for when a patient withdraws.

    Attributes:
        mark: Of the patient.
        instances: Of the patient, in the PACS.
        shared: StudyInstanceUIDs of theirs that other patients of the PACS have too.
    """

    mark: str
    instances: tuple[Instance, ...]
    shared: frozenset[str] = frozenset()

    @property
    def sources(self) -> frozenset[str]:
        """Their Orthanc IDs."""
        return frozenset(i.orthanc_id for i in self.instances)

    @property
    def uids(self) -> frozenset[str]:
        """Their SOPInstanceUIDs."""
        return frozenset(i.sop_instance_uid for i in self.instances)

    @property
    def studies(self) -> frozenset[str]:
        """The StudyInstanceUIDs that are theirs alone."""
        return frozenset(i.study_instance_uid for i in self.instances) - self.shared

    def hold(self, told: Mapping[str, Any]) -> bool:
        """Say whether a line of a manifest, or a companion in it, is one of them."""
        named = {told.get("source"), told.get(manifest.COPY_OF)}
        return not named.isdisjoint(self.sources) or told.get("sop-instance-uid") in self.uids

    def without(self, text: str) -> str:
        """Take the rows about them out of a CSV."""
        names = self.sources | self.uids | self.studies
        if not any(name in text for name in names):
            return text
        made = io.StringIO(newline="")
        kept = csv.writer(made, lineterminator="\r\n" if "\r\n" in text else "\n")
        try:
            for row in csv.reader(io.StringIO(text, newline="")):
                # our tables put an apostrophe before what a spreadsheet would run
                if names.isdisjoint(cell.removeprefix("'") for cell in row):
                    kept.writerow(row)
        except csv.Error:  # no table, whatever it is called
            lines = text.splitlines(keepends=True)
            return "".join(line for line in lines if not any(name in line for name in names))
        return made.getvalue()


@dataclass(frozen=True)
class Run:
    """A training run that used images of a patient.

    Attributes:
        name: Its folder's.
        run_id: MLflow's; empty where it never got one.
        train: How many images it learned from.
        val: How many chose its checkpoint and thresholds.
        test: On how many it was scored.
        began_from: The run whose weights it has of those that saw the patient; else empty.
    """

    name: str
    run_id: str
    train: int = 0
    val: int = 0
    test: int = 0
    began_from: str = ""


class Told:
    """What is kept of a withdrawal: `<root>/ingest/withdrawn-<mark>.json`, which runs to redo.

    Images tell which runs these are, and go one by one: who is stopped in between and begins
    again finds fewer, so what was found before counts too.
    """

    def __init__(self, folder: Path, mark: str) -> None:
        self.path = folder / "ingest" / f"{FILE}-{mark}.json"

    def merged(self, runs: Iterable[Run]) -> list[Run]:
        """Give each run with the most images that were ever found of it."""
        found = {run.name: run for run in runs}
        for past in self._past():
            now = found.get(past.name, past)
            found[past.name] = Run(
                past.name,
                past.run_id or now.run_id,
                max(now.train, past.train),
                max(now.val, past.val),
                max(now.test, past.test),
                past.began_from or now.began_from,
            )
        return [found[name] for name in sorted(found)]

    def write(self, runs: Iterable[Run]) -> None:
        """Keep them, for good before this returns."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {"runs": [asdict(run) for run in runs]}
        part = self.path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(json.dumps(document, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def _past(self) -> list[Run]:
        try:
            return [Run(**run) for run in json.loads(self.path.read_text())["runs"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PacsError(f"{self.path}: expected a list of runs; delete the file") from error


def of(folder: Path) -> Withdrawn:
    """Read the list of a data root; an empty one where nobody has withdrawn."""
    path = folder / "ingest" / FILE
    secret = root.secret(folder, "withdrawn.key", secrets.token_hex(32)).encode()
    try:
        marks = path.read_text().split()
    except FileNotFoundError:
        marks = []
    except OSError as error:
        raise PacsError(f"{path}: cannot be read: {error.strerror}") from error
    return Withdrawn(path, frozenset(marks), secret)


def add(folder: Path, patient_ids: Iterable[str]) -> None:
    """Put patients on the list, for good before this returns.

    Raises:
        PacsError: It cannot be written.
    """
    listed = of(folder)
    lines = [f"{listed.mark(p)}\n" for p in patient_ids if p not in listed]
    try:
        listed.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(listed.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise PacsError(f"{listed.path}: cannot be written: {error.strerror}") from error


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Replace a text file, whole or not at all, if it has to change.

    Bytes that are no UTF-8 stay as they are, for a file need not be one of ours.
    """
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    if (changed := change(text)) == text:
        return
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        part.chmod(0o600)
        file.write(changed)
        file.flush()
        os.fsync(file.fileno())  # what else tells of a patient goes next, for good
    part.replace(path)


def find(folder: Path, pacs: Pacs, patient_id: str) -> tuple[Images, list[str]]:
    """Find what the PACS holds of a patient, under the PatientID and under its pseudonym.

    Returns:
        The images; the PatientIDs they may have.
    """
    names = [patient_id]
    if (folder / "secrets" / deidentify.SECRET).exists():
        names.append(deidentify.pseudonym(patient_id, deidentify.secret(folder)))
    # an ID with * or ? in it is a pattern to the search
    found = [i for n in names for i in pacs.search(PatientID=n) if i.patient_id == n]
    shared = {
        study
        for study in {i.study_instance_uid for i in found}
        if any(i.patient_id not in names for i in pacs.search(StudyInstanceUID=study))
    }
    return Images(of(folder).mark(patient_id), tuple(found), frozenset(shared)), names
