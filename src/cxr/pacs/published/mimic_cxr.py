"""MIMIC-CXR (DICOM) and MIMIC-CXR-JPG: files/p10/p10000032/s50414267/<dicom_id>.dcm or .jpg.

The tables are MIMIC-CXR-JPG's, beside `files`; with DICOM files put them there. Labels are a
study's. Sex and age are MIMIC-IV's: they come in if its patients.csv lies there, too.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from cxr.errors import PacsError
from cxr.pacs.published import tables
from cxr.pacs.published.index import Index
from cxr.pacs.published.tables import Entry, PublishedSet

_LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", ("Lung Opacity", "Airspace Opacity"), "No Finding",
    "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
_NAMES = tuple(name if isinstance(name, str) else name[0] for name in _LABELS)
_SPLITS = {"train": "train", "validate": "val", "test": "test"}
_PUBLISHER = "MIMIC-CXR-JPG, by its publisher"
_POSITIONS = {
    "postero-anterior": "PA", "antero-posterior": "AP", "lateral": "LATERAL",
    "left lateral": "LL", "right lateral": "RL",
}  # fmt: skip
_STUDY = re.compile(r"(?:^|/)s([0-9]+)/[^/]+$")


def read(folder: Path, index: Index) -> PublishedSet:
    """Read the tables; those of CheXpert's labeler before NegBio's."""
    labels = tables.need(folder, "mimic-cxr-*-chexpert.csv*", "mimic-cxr-*-negbio.csv*")
    for row in tables.rows(labels, ["subject_id", "study_id", *_LABELS]):
        index.put_study(_whole(row["study_id"]), tuple(row[name] for name in _NAMES))
    patients = tables.find(folder, "patients.csv*")
    people = _people(patients) if patients else {}
    metadata = tables.find(folder, "mimic-cxr-*-metadata.csv*")
    for row in _metadata(metadata) if metadata else ():
        patient, study = _whole(row["subject_id"]), _whole(row["study_id"])
        header = _header(row, patient, study, people)
        index.put(row["dicom_id"], Entry(header, patient, study))
    split = tables.find(folder, "mimic-cxr-*-split.csv*")
    if split:
        _split(split, index)
    read_from = (labels, *(path for path in (metadata, split, patients) if path))
    return PublishedSet(
        "mimic-cxr", "mimic_cxr", _NAMES, _key, study=study_of, pictures=metadata is not None,
        by_study=True, tables=read_from,
    )  # fmt: skip


def study_of(path: str) -> str:
    """Give the study's number that a path below the set's folder holds, or an empty text.

    >>> study_of("files/p10/p10000032/s50414267/02aa804e.dcm")
    '50414267'
    """
    match = _STUDY.search(path)
    return match[1] if match else ""


def _key(path: str) -> str:
    return PurePosixPath(path).stem


def _metadata(path: Path) -> Iterator[dict[str, str]]:
    return tables.rows(path, ["dicom_id", "subject_id", "study_id", "ViewPosition"])


def _split(path: Path, index: Index) -> None:
    for row in tables.rows(path, ["dicom_id", "study_id", "subject_id", "split"]):
        if row["split"] not in _SPLITS:
            raise PacsError(
                f"{path}: expected {', '.join(_SPLITS)} in column split, met {row['split']!r}"
            )
        index.put_split(
            row["dicom_id"], _SPLITS[row["split"]],
            patient=_whole(row["subject_id"]), study=_whole(row["study_id"]),
        )  # fmt: skip


def _people(path: Path) -> Mapping[str, tuple[str, str, str]]:
    """Read MIMIC-IV's patients: subject → sex, age and year in which it was so old."""
    wanted = ["subject_id", "gender", "anchor_age", "anchor_year"]
    return {
        _whole(row["subject_id"]): (
            tables.sex(row["gender"]),
            row["anchor_age"],
            row["anchor_year"],
        )
        for row in tables.rows(path, wanted)
    }


def _header(
    row: Mapping[str, str], patient: str, study: str, people: Mapping[str, tuple[str, str, str]]
) -> dict[str, str]:
    date = row.get("StudyDate", "").partition(".")[0]
    date = date if re.fullmatch(r"[0-9]{8}", date) else ""
    sex, age, year = people.get(patient, ("", "", ""))
    if date and age.isdecimal() and year.isdecimal():
        # shifted into the future, but by as much as the study's date
        age = str(max(int(age) + int(date[:4]) - int(year), 0))
    meaning = row.get("ViewCodeSequence_CodeMeaning", "").casefold()
    return {
        "PatientID": patient,
        "PatientSex": sex,
        "PatientAge": tables.age(age),
        "StudyID": study,
        "StudyDate": date,
        "ViewPosition": tables.position(row["ViewPosition"], _POSITIONS.get(meaning, "")),
        "DeidentificationMethod": _PUBLISHER,
        **tables.uids("mimic_cxr", study=study, instance=row["dicom_id"]),
    }


def _whole(text: str) -> str:
    """Drop what spreadsheets and data frames add to numbers: 50414267.0."""
    return text.removesuffix(".0")
