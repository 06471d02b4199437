"""NIH ChestX-ray14: images/00000001_000.png, Data_Entry_2017.csv or _v2020, test_list.txt.

Its pictures were scaled to 1024 x 1024 whatever their shape, so no spacing is stated. PatientIDs
become NIH and eight digits: bare small numbers would be other people's elsewhere.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cxr.errors import PacsError
from cxr.pacs.published import tables
from cxr.pacs.published.index import Index
from cxr.pacs.published.tables import Entry, PublishedSet

_ENTRY = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age",
    ("Patient Sex", "Patient Gender"), "View Position",
)  # fmt: skip
_PUBLISHER = "NIH ChestX-ray14, by its publisher"


def read(folder: Path, index: Index) -> PublishedSet:
    """Read the tables; of two versions of Data_Entry the newer."""
    entries = tables.need(folder, "Data_Entry_2017*.csv*")
    test = tables.find(folder, "test_list*.txt")
    listed = set(_names(test)) if test else set()
    for row in tables.rows(entries, _ENTRY):
        key = _key(row["Image Index"])
        number = row["Patient ID"]
        if not number.isdecimal():
            raise PacsError(f'{entries}: expected a number in "Patient ID", met another text')
        patient = f"NIH{int(number):08d}"
        split = "" if test is None else "test" if key in listed else "train"
        header = {
            "PatientID": patient,
            "PatientSex": tables.sex(row["Patient Sex"]),
            "PatientAge": tables.age(row["Patient Age"]),
            "StudyID": row["Follow-up #"][:16],
            "ViewPosition": tables.position(row["View Position"]),
            "DeidentificationMethod": _PUBLISHER,
            **tables.uids("nih14", study=key, instance=key),
        }
        index.put(key, Entry(header, patient, "", split, (row["Finding Labels"],)))
    read_from = (entries, *([test] if test else ()))
    return PublishedSet(
        "nih", "nih14", ("finding_labels",), _key, test=test is not None, tables=read_from,
        boxes=_boxes(folder, index),
    )  # fmt: skip


def _boxes(folder: Path, index: Index) -> Path | None:
    """Read the boxes that a radiologist drew on some images; pixels are those of the pictures."""
    path = tables.find(folder, "BBox_List_2017*.csv*")
    # its header gives four numbers one name, and three none: "Bbox [x,y,w,h],,,"
    for image, label, *ends in tables.cells(path, 6) if path else ():
        try:
            left, top, width, height = (float(end) for end in ends[:4])
        except ValueError as error:
            raise PacsError(f"{path}: expected x, y, w and h of a box, met {ends[:4]}") from error
        named = "Infiltration" if label == "Infiltrate" else label
        index.put_box(_key(image), named, (left, top, left + width, top + height))
    return path


def _key(path: str) -> str:
    return PurePosixPath(path).stem


def _names(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (_key(line.strip()) for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a file not in UTF-8"
        raise PacsError(f"{path}: expected a list of image names, met {reason}") from error
