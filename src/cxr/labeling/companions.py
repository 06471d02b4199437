"""What a reader is told and shown beside the image to label: context, and companion images.

Both change what is measured, so a job has neither unless it asks, and the manifest's lines hold
what was given: nothing is looked up again when the page opens, here or in Ground Truth.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from pydicom import Dataset

from cxr.images import views
from cxr.images.dicom import Instance
from cxr.pacs import Pacs, finding

_OLDEST = 90
"""Ages above identify a person (45 CFR 164.514(b)(2)(i)(C)): 90 stands for them all."""
_INDICATIONS = ("ReasonForTheRequestedProcedure", "ReasonForStudy", "AdmittingDiagnosesDescription")
_MOST_TEXT = 500


def shown(instance: Instance, pacs: Pacs, wanted: Sequence[str]) -> dict[str, Any]:
    """Give what readers are told of a patient beside the image.

    Args:
        instance: The image to label.
        pacs: That holds its file; it is read only for the indication.
        wanted: Of `age` (whole years; 90 for all above 89), `sex` (M, F or O), `indication` (why
            the image was asked for, at most 500 characters; free text can name a patient).

    Returns:
        Those of them that the file says.
    """
    found: dict[str, Any] = {}
    if "age" in wanted and instance.age_years is not None:
        found["age"] = min(int(instance.age_years), _OLDEST)
    if "sex" in wanted and instance.sex:
        found["sex"] = instance.sex
    if "indication" in wanted:
        said = _indication(finding.header(pacs, instance))
        if said:
            found["indication"] = said
    return found


def studies(
    instances: Iterable[Instance], accepted: Sequence[str]
) -> Iterator[tuple[Instance, bool]]:
    """Say of each instance whether it stands for its study: the first with an accepted view does.

    Args:
        instances: As the PACS gives them.
        accepted: Of frontal, lateral, unknown.
    """
    met: set[str] = set()
    for instance in instances:
        stands = instance.view in accepted and instance.study_instance_uid not in met
        if stands:
            met.add(instance.study_instance_uid)
        yield instance, stands


def of(instance: Instance, pacs: Pacs, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """List the images shown read-only beside one.

    Args:
        instance: The image to label.
        pacs: Where the others are.
        kinds: Of `lateral` and `frontal` (of the same study) and `prior` (the frontal image of
            the patient's last study before this one).

    Returns:
        What a manifest line holds under `companions`: `kind`, `source`, `sop-instance-uid` and,
        of a prior, `days-before`.
    """
    found = [
        _companion(other.view, other)
        for other in pacs.search(StudyInstanceUID=instance.study_instance_uid)
        if other.view in kinds and other.sop_instance_uid != instance.sop_instance_uid
    ]
    prior = _prior(instance, pacs) if "prior" in kinds else None
    if prior is not None:
        days, other = prior
        found.append(_companion("prior", other) | {"days-before": days})
    return found


def _prior(instance: Instance, pacs: Pacs) -> tuple[int, Instance] | None:
    taken = _date(instance)
    if taken is None or not instance.patient_id:
        return None
    before = [
        ((taken - when).days, other)
        for other in pacs.search(PatientID=instance.patient_id)
        # an ID with * or ? in it is a pattern to the search
        if other.patient_id == instance.patient_id
        and other.view == views.FRONTAL
        and (when := _date(other)) is not None
        and when < taken
    ]
    return min(before, key=lambda found: found[0]) if before else None


def _companion(kind: str, instance: Instance) -> dict[str, Any]:
    return {
        "kind": kind,
        "source": instance.orthanc_id,
        "sop-instance-uid": instance.sop_instance_uid,
    }


def _date(instance: Instance) -> date | None:
    try:
        return datetime.strptime(instance.study_date, "%Y%m%d").date()
    except ValueError:
        return None


def _indication(ds: Dataset) -> str:
    requests = ds.get("RequestAttributesSequence") or ()
    for source in (ds, *requests):
        for keyword in _INDICATIONS:
            said = str(source.get(keyword) or "").strip()
            if said:
                return " ".join(said.split())[:_MOST_TEXT]
    return ""
