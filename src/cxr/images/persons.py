"""What a header says about the patient: ages that cannot be, and who could be recognised.

What is met is never repeated where it names somebody: a report says which attributes to look at.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag, Tag

from cxr.images import attributes, dicom

OLDEST = 120
ADULT = 18
_YEAR = 365.25

PATIENT = (
    "PatientName", "PatientBirthDate", "PatientBirthTime", "PatientBirthName", "PatientAddress",
    "PatientTelephoneNumbers", "PatientTelecomInformation", "PatientMotherBirthName",
    "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "MedicalRecordLocator",
    "PatientInsurancePlanCodeSequence", "ResponsiblePerson", "MilitaryRank",
    "CountryOfResidence", "RegionOfResidence", "PatientReligiousPreference", "PatientComments",
    "PersonTelephoneNumbers", "PersonAddress",
)  # fmt: skip
"""Says who the patient is: PS3.15 table E.1-1, what no profile keeps."""

AROUND = (
    "AccessionNumber", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
    "ConsultingPhysicianName", "PhysiciansOfRecord", "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy", "OperatorsName", "RequestingPhysician", "RequestingService",
    "ScheduledPerformingPhysicianName", "IssuerOfPatientID", "AdmissionID", "StationName",
    "DeviceSerialNumber", "CurrentPatientLocation", "PatientInstitutionResidence",
    "AdditionalPatientHistory", "ImageComments", "StudyComments", "ContentCreatorName",
    "PersonName",
)  # fmt: skip
"""Leads to the patient by way of the hospital; kept by some who removed the identity."""

_REMOVED = re.compile(
    r"((anon|removed|de-?ident|redacted|synthetic|phantom).*"
    r"|(blank|unknown|none|n/?a|null|nobody|x{3,})?[-0.,^ _*]*"
    r"|19000101|19010101|00010101)",
    re.IGNORECASE | re.DOTALL,
)
"""What those who remove identities leave in their place."""
_PATIENT, _AROUND = ({Tag(keyword): keyword for keyword in some} for some in (PATIENT, AROUND))
_PIXELS = 0x7FE0
_DEEP = 8


def implausible_age(ds: Dataset) -> str | None:
    """At most 120 years, and three digits with D, W, M or Y (PS3.5 6.2, AS)."""
    met = dicom.text(ds, "PatientAge")
    stated = dicom.stated_age(ds)
    if met and stated is None:
        return f"PatientAge is {attributes.shown(met)}, expected 045Y, 018M, 003W or 010D"
    years = _age(ds)
    return None if years is None or years <= OLDEST else f"{_source(ds)} {_spoken(years)}"


def minor(ds: Dataset) -> str | None:
    """Grown up, where an age is known."""
    years = _age(ds)
    return None if years is None or years >= ADULT else f"{_source(ds)} {_spoken(years)}"


def contradicting_age(ds: Dataset) -> str | None:
    """Stated age and dates agree to a year; nobody is imaged before birth."""
    stated, reckoned = dicom.stated_age(ds), _by_dates(ds)
    if reckoned is not None and reckoned < 0:
        return "StudyDate lies before PatientBirthDate"
    if stated is None or reckoned is None:
        return None
    # 45Y lasts a year, and ages are rounded either way
    if stated - 1 <= reckoned < stated + 2:
        return None
    return f"PatientAge says {_spoken(stated)}, the dates of birth and study {_spoken(reckoned)}"


def identifying_tags(ds: Dataset) -> str | None:
    """Nothing that says who it is; where identity is said to be removed, the rest may stay."""
    removed = dicom.text(ds, "PatientIdentityRemoved").upper() == "YES"
    wanted = _PATIENT if removed else _PATIENT | _AROUND
    own = _letters(dicom.text(ds, "PatientID"))
    met = {name for name, value in _named(ds, wanted) if _tells(value, own)}
    listed = [name for name in wanted.values() if name in met]
    if not removed and (private := sum(1 for _ in _private(ds))):
        listed.append(f"{private} private element{'s' if private > 1 else ''}")
    if not listed:
        return None
    return f"holds {', '.join(listed[:12])}{f' and {len(listed) - 12} more' * (len(listed) > 12)}"


def _age(ds: Dataset) -> float | None:
    stated = dicom.stated_age(ds)
    return _by_dates(ds) if stated is None else stated


def _by_dates(ds: Dataset) -> float | None:
    """Years between birth and study; negative where the study came first."""
    try:
        born, seen = (
            date.fromisoformat(dicom.text(ds, k)) for k in ("PatientBirthDate", "StudyDate")
        )
    except ValueError:
        return None
    return (seen - born).days / _YEAR


def _source(ds: Dataset) -> str:
    if dicom.stated_age(ds) is None:
        return "the dates of birth and study say"
    return "PatientAge says"


def _spoken(years: float) -> str:
    return f"{years:.0f} years" if years >= 2 else f"{12 * years:.0f} months"


def _named(ds: Dataset, wanted: Mapping[BaseTag, str], deep: int = 0) -> Iterator[tuple[str, str]]:
    """Find attributes, in sequences too: keyword and value; of a sequence, whether it has items."""
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset would decode every element
        nested = tag.group != _PIXELS and _is_sequence(tag, getattr(ds.get_item(tag), "VR", None))
        items = attributes.items(ds, keyword_for_tag(tag)) if nested else []
        if tag in wanted:
            keyword = wanted[tag]
            yield keyword, "items" * bool(items) if nested else dicom.text(ds, keyword)
        for item in items if deep < _DEEP else ():
            yield from _named(item, wanted, deep + 1)


def _is_sequence(tag: BaseTag, vr: str | None) -> bool:
    if tag.is_private or vr not in (None, "SQ", "UN"):
        return False
    try:
        return vr == "SQ" or dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


def _private(ds: Dataset) -> Iterator[BaseTag]:
    """Private elements that hold something; not those that only reserve a block."""
    for tag in ds.keys():  # noqa: SIM118
        private = tag & 0x10000 and tag.element >= 0x1000
        if private and getattr(ds.get_item(tag), "value", None):
            yield tag


def _tells(value: str, own: str) -> bool:
    """Whether a value says more than its pseudonym does."""
    return not (_REMOVED.fullmatch(value) or (own and _letters(value) == own))


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
