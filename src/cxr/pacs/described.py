"""From what a server says of an instance to an `Instance`, and to what searches compare.

Servers say it as text by keyword (Orthanc) or as DICOM JSON (PS3.18 F); either becomes a mapping
by keyword, which is read like the header of a file, so that every PACS tells the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.sequence import Sequence

from cxr.errors import DicomError, PacsError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs import index, matching

NEEDED = (
    *matching.ATTRIBUTES,
    "PatientAge",
    "ViewCodeSequence",
    "AvailableTransferSyntaxUID",
)
"""Every attribute that an `Instance` or a search looks at."""
ALWAYS = ("SOPClassUID", "Modality", "Rows", "Columns", "PhotometricInterpretation")
"""Those that no radiograph lacks (PS3.3 C.7.3.1, C.7.6.3, C.12.1): without them more is asked."""

Header = Mapping[str, Any]
"""Text by keyword; a sequence is a list of the same."""


@dataclass(frozen=True)
class Described:
    """One instance, and what searches compare of it."""

    instance: Instance
    values: matching.Values

    @property
    def order(self) -> tuple[str, str, str, str]:
        """What every search is sorted by."""
        it = self.instance
        return (
            it.study_instance_uid,
            it.series_instance_uid,
            it.sop_instance_uid,
            it.orthanc_id,
        )


class _Like(dict[str, Any]):
    """Looks to `dicom.instance` like a data set: text by keyword, and the meta information."""

    def __init__(self, header: Header, transfer_syntax_uid: str) -> None:
        super().__init__(header)
        if codes := header.get("ViewCodeSequence"):
            self["ViewCodeSequence"] = Sequence([_code(item) for item in codes])
        self.file_meta = {"TransferSyntaxUID": transfer_syntax_uid}

    def get_item(self, _: str) -> None:
        """Give nothing for how a value was written: servers tell what they made of it."""


def _code(item: Header) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodeMeaning = item.get("CodeValue", ""), item.get("CodeMeaning", "")
    return made


def described(header: Header, transfer_syntax_uid: str = "") -> Described:
    """Read what a server said of one instance.

    Raises:
        PacsError: It names no instance; no UID is repeated in the message.
    """
    like = cast("Dataset", _Like(header, transfer_syntax_uid))
    try:
        instance = dicom.instance(like)
    except DicomError as error:
        reason = str(error).partition(" is ")[0]
        raise PacsError(f"describes an instance that cannot be used: {reason}") from error
    return Described(instance, {**values(header), "view": instance.view})


def values(header: Header) -> dict[str, str | int | None]:
    """Give what searches compare, but for `view`; None or empty where nothing is said."""
    like = cast("Dataset", header)
    return {keyword: index.column(like, keyword) for keyword in matching.ATTRIBUTES}


def from_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Read one data set of DICOM JSON (PS3.18 F.2) into text by keyword.

    >>> from_json({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jo"}]}})
    {'PatientName': 'Doe^Jo'}
    """
    header: dict[str, Any] = {}
    for tag, element in document.items():
        name = keyword_for_tag(tag)
        if not name or not isinstance(element, Mapping):
            continue
        values = element.get("Value") or []
        if not isinstance(values, list):
            continue
        if element.get("vr") == "SQ":
            header[name] = [from_json(item) for item in values if isinstance(item, Mapping)]
        else:
            header[name] = "\\".join(_text(value) for value in values)
    return header


def _text(value: Any) -> str:
    if isinstance(value, Mapping):  # a name, in up to three spellings (PS3.5 6.2.1)
        groups = ("Alphabetic", "Ideographic", "Phonetic")
        return "=".join(str(value.get(group) or "") for group in groups).rstrip("=")
    return "" if value is None else str(value)
