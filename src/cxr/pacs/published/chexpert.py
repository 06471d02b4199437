"""CheXpert, small or not: train/patient00001/study1/view1_frontal.jpg, train.csv, valid.csv.

valid.csv holds what radiologists labelled; published results are measured on it, so its patients
are listed for `data.test=list`. No patient's number stands in both tables, so a view is known by
the last three parts of its path, wherever a release puts them.
"""

from pathlib import Path, PurePosixPath

from cxr.pacs.published import tables
from cxr.pacs.published.index import Index
from cxr.pacs.published.tables import Entry, PublishedSet

_NAMES = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
_COLUMNS = ("Path", ("Sex", "Gender"), "Age", "Frontal/Lateral", "AP/PA", *_NAMES)
_PUBLISHER = "CheXpert, by its publisher"


def read(folder: Path, index: Index) -> PublishedSet:
    """Read the tables."""
    train = tables.need(folder, "train.csv*", "*/train.csv*")
    valid = tables.find(train.parent, "valid.csv*")
    read_from = (train, valid) if valid else (train,)
    for path in read_from:
        for row in tables.rows(path, _COLUMNS):
            key = _key(row["Path"])
            patient, _, _ = key.partition("/")
            header = _header(row, key, patient)
            split = "train" if path is train else "test"
            labels = tuple(row[name] for name in _NAMES)
            index.put(key, Entry(header, patient, key.rpartition("/")[0], split, labels))
    return PublishedSet(
        "chexpert", "mimic_cxr", _NAMES, _key, test=valid is not None, tables=read_from
    )


def _key(path: str) -> str:
    """Give patient, study and view.

    >>> _key("CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg")
    'patient00001/study1/view1_frontal'
    """
    pure = PurePosixPath(path)
    return "/".join((*pure.parts[-3:-1], pure.stem))


def _header(row: dict[str, str], key: str, patient: str) -> dict[str, str]:
    # of a lateral the side is not said, and PA or AP were said of frontal views only
    told = row["AP/PA"] or row["Frontal/Lateral"]
    return {
        "PatientID": patient,
        "PatientSex": tables.sex(row["Sex"]),
        "PatientAge": tables.age(row["Age"]),
        "StudyID": key.split("/")[1] if key.count("/") == 2 else "",
        "ViewPosition": tables.position(told),
        "DeidentificationMethod": _PUBLISHER,
        **tables.uids("chexpert", study=key.rpartition("/")[0], instance=key),
    }
