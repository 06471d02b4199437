"""What no file shows by itself: one instance twice, one picture or one study under two patients.

All are questions to the ledger, so they cost no memory and find also what came in months ago.
One study under two patients is a warning by default: which of the two is right nobody here can
know, and our own way to an image, by its Orthanc ID, goes on working (WADO-URI does not).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cxr import ingest_rules
from cxr.images import doctor
from cxr.images.doctor import Verdict
from cxr.ingest_rules import Severity
from cxr.pacs.ledger import IN, PENDING, Ledger, Row

_PAIRS = {
    "same_pixels": ("pixel_hash", "the same pixels as {other}, under another PatientID"),
    "same_study": ("study_key", "the same StudyInstanceUID as {other}, under another PatientID"),
}
# one of another patient, on either side of this one in the index (key, patient_key)
_OTHER = """
SELECT root, path FROM files INDEXED BY {index} WHERE {column} = ? AND patient_key {sign} ?
AND outcome IN (?, ?) LIMIT 1
"""
_INDEX = {"pixel_hash": "by_pixels", "study_key": "by_study"}


@dataclass(frozen=True)
class Twin:
    """A file of the same source with the same SOPInstanceUID, that came first."""

    path: str
    is_same: bool


def twin(ledger: Ledger, root: str, path: str, row: Row) -> Twin | None:
    """Find the file that has the SOPInstanceUID already, and whether it is the same file again."""
    found = ledger.find(
        "SELECT path, sha256 FROM files WHERE instance_key = ? AND root = ? AND path <> ? "
        "AND outcome IN (?, ?) AND substr(stamp, -12) = ? ORDER BY sha256 <> ?, path LIMIT 1",
        row.instance_key, root, path, IN, PENDING, row.stamp[-12:], row.sha256,
    )  # fmt: skip
    return Twin(found[0][0], found[0][1] == row.sha256) if row.stamp and found else None


def duplicate(other: str) -> tuple[Verdict, ...]:
    """Make the verdict on a file whose SOPInstanceUID another one has."""
    return doctor.verdict(
        "duplicate_instance", f"the SOPInstanceUID of {other}, with other content"
    )


def namesake(ledger: Ledger, root: str, path: str, row: Row) -> str:
    """Name the file that a destination already holds under this SOPInstanceUID."""
    found = ledger.find(
        "SELECT root, path FROM files WHERE instance_key = ? AND outcome IN (?, ?) "
        "AND NOT (root = ? AND path = ?) ORDER BY root <> ?, root, path LIMIT 1",
        row.instance_key, IN, PENDING, root, path, root,
    )  # fmt: skip
    return _shown(root, *found[0]) if found else "a file that is in the PACS already"


def objections(
    ledger: Ledger, root: str, row: Row, severities: Mapping[str, Severity]
) -> tuple[Verdict, ...]:
    """Apply those rules that are errors to a file that would come in now."""
    found: tuple[Verdict, ...] = ()
    for rule, (column, _) in _PAIRS.items():
        if severities[rule] == ingest_rules.ERROR:
            value = row.pixel_hash if column == "pixel_hash" else row.study_key
            found += _pair(ledger, root, rule, value, row.patient_key, severities)
    return found


def warnings(
    ledger: Ledger, root: str, severities: Mapping[str, Severity]
) -> Iterator[tuple[str, tuple[Verdict, ...]]]:
    """Apply those that are warnings to all files of a source that came in, by path."""
    wanted = [rule for rule in _PAIRS if severities[rule] == ingest_rules.WARNING]
    last = ""
    while rows := ledger.find(
        "SELECT path, pixel_hash, study_key, patient_key FROM listed JOIN files USING (path) "
        "WHERE root = ? AND path > ? AND outcome = ? ORDER BY path LIMIT 500",
        root, last, IN,
    ):  # fmt: skip
        for path, pixel_hash, study_key, patient in rows:
            values = {"pixel_hash": pixel_hash, "study_key": study_key}
            found: tuple[Verdict, ...] = ()
            for rule in wanted:
                found += _pair(ledger, root, rule, values[_PAIRS[rule][0]], patient, severities)
            if found:
                yield path, found
        last = rows[-1][0]


def _pair(
    ledger: Ledger,
    root: str,
    rule: str,
    value: str,
    patient: str,
    severities: Mapping[str, Severity],
) -> tuple[Verdict, ...]:
    column, text = _PAIRS[rule]
    if not value:
        return ()
    for sign in "<>":
        sql = _OTHER.format(index=_INDEX[column], column=column, sign=sign)
        if found := ledger.find(sql, value, patient, IN, PENDING):
            other = _shown(root, *found[0])
            return doctor.verdict(rule, text.format(other=other), severities)
    return ()


def _shown(root: str, other_root: str, path: str) -> str:
    return path if other_root == root else f"{other_root}/{path}"
