"""By which names a study is known outside: UIDs, numbers, folders; shared by labels and reports.

Published tables and texts name studies in their own ways. MIMIC-CXR's study 50414267 of patient
10000032 is DICOM's StudyID 50414267, and the folder `p10/p10000032/s50414267`.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath


def names(study_instance_uid: str, study_id: str, paths: Iterable[str]) -> list[str]:
    """Give the names of one study, the surest first.

    Args:
        study_instance_uid: Of the study, or empty.
        study_id: DICOM's StudyID, or empty.
        paths: Of files that its images were ingested from.

    >>> names("1.2.3", "", ["p10/p10000032/s50414267/a.dcm"])[:2]
    ['1.2.3', '50414267']
    """
    found = [study_instance_uid, study_id]
    for path in paths:
        # a folder named s50414267 is study 50414267; a bare number might be anything
        folders = PurePosixPath(path).parts[:-1]
        found += [*(f[1:] for f in folders if f[:1] == "s"), *folders]
    return [name for name in found if name]


def same_patient(patient: str, patient_id: str, paths: Iterable[str]) -> bool:
    """Say whether a patient, as a text's folder or table names her, is the one of a study.

    Args:
        patient: Such as `p10000032` or `10000032`.
        patient_id: DICOM's PatientID.
        paths: Of files that the study's images were ingested from: a de-identified PatientID is
            another, but the folder bears the name still.

    >>> same_patient("p10000032", "10000032", [])
    True
    """
    bare = _bare(patient)
    folders = {_bare(f) for path in paths for f in PurePosixPath(path).parts[:-1]}
    return bare == _bare(patient_id) or bare in folders


def _bare(name: str) -> str:
    return name[1:] if name[:1] in ("p", "P") and name[1:].isdigit() else name
