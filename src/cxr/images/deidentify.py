"""From a radiograph of somebody to the same radiograph of nobody.

The Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E with two of its
options: dates are shifted (E.3.6), age and sex stay (E.3.7). `profile.py` says what becomes of
each attribute. The pixels are not looked at: what is burned into them stays there, and what lies
behind the last of them goes.

Whoever has the secret can compute a patient's pseudonym, so it is patient data itself.
"""

import base64
import hmac
import io
import re
import secrets
import uuid
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import pydicom
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from cxr import root
from cxr.errors import DicomError
from cxr.images import dicom, endings, identifiers, profile, terms
from cxr.images.profile import Fate

IMPLEMENTATION: Final = "2.25.290415926535897932384626433832795"
"""The Implementation Class UID (PS3.7 D.3.3.2) of files that were written here."""

SECRET: Final = "deidentify.secret"
"""Its file in `<root>/secrets`."""

LONGEST_SHIFT: Final = 3650
"""Days that a patient's dates go back, at most."""

_OLDEST = 89
_METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)  # PS3.16 CID 7050
_DATE = re.compile(r"([0-9]{4})[.-]?([0-9]{2})[.-]?([0-9]{2})")
_TIME = re.compile(r"([01][0-9]|2[0-3])(?::?([0-5][0-9])(?::?[0-6][0-9](?:\.[0-9]*)?)?)?")
_ZONE = re.compile(r"[+-][0-9]{4}$")


def secret(folder: Path) -> bytes:
    """Give the secret of a data root, made at the first call: `<root>/secrets/deidentify.secret`.

    Who has it can tell whose a de-identified file is; without it, later files of a patient come
    under another name.
    """
    return root.secret(folder, SECRET, secrets.token_hex(32)).encode()


def pseudonym(patient_id: str, secret: bytes) -> str:
    """Give the PatientID that de-identified files of a patient have.

    >>> pseudonym("4711", b"a secret of at least 16 bytes")
    'P-IM2LFYSBHEXJ3DOD'
    """
    return "P-" + base64.b32encode(_mac(secret, "patient", patient_id)[:10]).decode()


def new_uid(uid: str, secret: bytes) -> str:
    """Give the UID that stands for another one; the same in every file, run and machine.

    Those that the standard registers say what, not which: they stay.

    >>> new_uid("1.2.3", b"a secret of at least 16 bytes")
    '2.25.319861394369100685714876850139444765594'
    >>> new_uid("1.2.840.10008.5.1.4.1.1.1", b"a secret of at least 16 bytes")
    '1.2.840.10008.5.1.4.1.1.1'
    """
    if not uid or _is_registered(uid):
        return uid
    return f"2.25.{uuid.UUID(bytes=_mac(secret, 'uid', uid)[:16], version=4).int}"  # PS3.5 B.2


def days_back(patient_id: str, secret: bytes) -> int:
    """Give by how many days a patient's dates go back: 1 to `LONGEST_SHIFT`."""
    return 1 + int.from_bytes(_mac(secret, "days", patient_id)[:8], "big") % LONGEST_SHIFT


def deidentify(source: bytes, secret: bytes) -> bytes:
    """Write the radiograph anew, without anything that says whose it is.

    The encoded pixels are the same bytes up to the last one, and the image `dicom.read` gives is
    the same image.
    Doing it again gives a third file: nothing tells an honest pseudonym from a PatientID.

    Args:
        source: A Part 10 file.
        secret: At least 16 bytes; see `secret`.

    Returns:
        A Part 10 file of another instance, in the same transfer syntax.

    Raises:
        DicomError: Not a DICOM file, damaged, without pixels, a PatientID or a UID, with several
            frames, or with graphics in unused bits of the pixels.
        ValueError: The secret is too short to be one.
    """
    if len(secret) < 16:
        raise ValueError(f"expected a secret of at least 16 bytes, met {len(secret)}")
    with dicom.explained(source):
        ds = dicom.parse(source)
        _refuse(ds)
        written = _Writer(ds, secret).written()
        written.file_meta = _meta(ds, written)
        file = io.BytesIO()
        pydicom.dcmwrite(file, written, enforce_file_format=True)
        return file.getvalue()


def _is_registered(uid: str) -> bool:
    return UID(uid, pydicom.config.IGNORE).name != uid


def _mac(secret: bytes, kind: str, value: str) -> bytes:
    return hmac.digest(secret, f"{kind}:{value}".encode("utf-8", "surrogateescape"), "sha256")


def _refuse(ds: Dataset) -> None:
    known = dicom.instance(ds)  # raises where a UID is missing
    if not known.patient_id:
        raise DicomError("PatientID is empty, so it cannot be told whose dates to shift")
    if "PixelData" not in ds:
        raise DicomError("holds no Pixel Data (7FE0,0010)")
    for name, met in (
        ("SOPClassUID", known.sop_class_uid),
        ("TransferSyntaxUID", known.transfer_syntax_uid),
    ):
        if not _is_registered(met):
            raise DicomError(f"{name} is none that the standard registers")
    for group in range(0x6000, 0x6020, 2):  # PS3.5 8.1.2: retired, and still met
        if (group, 0x0102) in ds and (group, 0x3000) not in ds and (group, 0x0010) in ds:
            raise DicomError(
                f"overlay {group:04X} lies in unused bits of the pixels, and may hold text"
            )


def _meta(ds: Dataset, written: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = written.SOPClassUID
    meta.MediaStorageSOPInstanceUID = written.SOPInstanceUID
    meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "CXR"
    return meta


class _Writer:
    """What is the same for all attributes of one file."""

    def __init__(self, ds: Dataset, secret: bytes) -> None:
        self._from = ds
        self._secret = secret
        self._patient = dicom.text(ds, "PatientID")
        self._back = timedelta(days_back(self._patient, secret))
        self._told = identifiers.of(ds)

    def written(self) -> Dataset:
        ds = self._kept(self._from)
        ds["PixelData"] = _pixels(self._from)
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientID = ds.PatientName = pseudonym(self._patient, self._secret)
        for keyword in ("StudyDate", "StudyTime", *profile.REQUIRED):
            if keyword not in ds:
                setattr(ds, keyword, "")
        sex = dicom.text(self._from, "PatientSex").upper()
        ds.PatientSex = sex if sex in ("M", "F", "O") else ""
        if age := _age(self._from):
            ds.PatientAge = age
        ds.PatientIdentityRemoved = "YES"
        ds.LongitudinalTemporalInformationModified = "MODIFIED"
        ds.DeidentificationMethod = "cxr, DICOM PS3.15 Annex E Basic Profile"
        ds.DeidentificationMethodCodeSequence = Items(_code(*method) for method in _METHODS)
        return ds

    def _kept(self, ds: Dataset) -> Dataset:
        kept = Dataset()
        for element in identifiers.elements(ds):
            if (found := self._written(element)) is not None:
                kept.add(found)
        return kept

    def _written(self, element: DataElement) -> DataElement | None:
        """Give what stands for an attribute, in the VR of the data dictionary; None for nothing."""
        tag, fate = element.tag, profile.fate(element.tag)
        if fate in (Fate.REMOVE, Fate.PIXELS):  # the pixels are those of the file, not of an item
            return None
        if fate in (Fate.ITEMS, Fate.CODES, Fate.TABLES):
            items = element.value if element.VR == "SQ" else []
            return DataElement(tag, "SQ", Items(self._items(fate, items)))
        if fate is Fate.NUMBER:
            if self._told.harmless_number(element):
                return element
            is_text = element.VR == dictionary_VR(tag) in ("DS", "IS")
            return DataElement(tag, element.VR, "") if is_text else None
        texts = identifiers.texts(element)
        match fate:
            case Fate.EMPTY:
                texts = []
            case Fate.UID:
                texts = [new_uid(text, self._secret) for text in texts]
            case Fate.DATE:
                texts = [self._moved(element, text) for text in texts[:1]]
            case Fate.TERM:
                texts = terms.known(element.keyword, texts)
        return DataElement(tag, dictionary_VR(tag), texts[0] if len(texts) == 1 else texts or "")

    def _items(self, fate: Fate, items: Iterable[Dataset]) -> Iterator[Dataset]:
        for item in items:
            kept = self._kept(item)
            if fate is Fate.CODES:
                value, scheme = dicom.text(item, "CodeValue"), "CodingSchemeDesignator"
                known = terms.meaning(value, dicom.text(item, scheme))
                if known is None:
                    continue
                kept.update(_code(value, known[1], known[0]))
            if fate is Fate.TABLES:
                kept.update(_table(item))
            yield kept

    def _moved(self, element: DataElement, text: str) -> str:
        """Shift a date by whole days; a time of day stays, to the minute."""
        text = _ZONE.sub("", text)
        if element.keyword.endswith("DateTime"):
            day = self._day(text[:8])
            return day + _minute(text[8:]) if day else ""
        return self._day(text) if element.keyword.endswith("Date") else _minute(text)

    def _day(self, text: str) -> str:
        try:
            found = _DATE.fullmatch(text)
            return f"{date(*map(int, found.groups())) - self._back:%Y%m%d}" if found else ""
        except (ValueError, OverflowError):  # no such day, or one before the year 1
            return ""


def _minute(text: str) -> str:
    found = _TIME.fullmatch(text)
    return f"{found[1]}{found[2] or '00'}00" if found else ""


def _age(ds: Dataset) -> str:
    """Give the age as PS3.5 6.2 writes it; of those over 89, that they are."""
    written = dicom.text(ds, "PatientAge").upper()
    years = dicom.instance(ds).age_years
    if years is None:
        return ""
    if years > _OLDEST:
        return f"{_OLDEST + 1:03d}Y"
    if re.fullmatch(r"[0-9]{3}[DWMY]", written):
        return written
    return f"{int(years):03d}Y" if years >= 2 else f"{int(years * 12):03d}M"


def _code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _table(item: Dataset) -> Dataset:
    """Copy a lookup table (PS3.3 C.11.1): three numbers, and as many entries as they say."""
    table = Dataset()
    if "LUTDescriptor" not in item or "LUTData" not in item:
        return table
    descriptor, data = item["LUTDescriptor"], item["LUTData"]
    three, entries = descriptor.value, data.value
    if isinstance(three, bytes):
        three = [int.from_bytes(three[at : at + 2], "little") for at in range(0, len(three), 2)]
    if descriptor.VR not in ("US", "SS", "US or SS") or len(three) != 3:
        return table
    count = int(three[0]) or 1 << 16
    if data.VR not in ("OW", "US", "SS", "US or OW") or entries is None:
        return table
    length = 2 * count if isinstance(entries, bytes) else count
    if isinstance(entries, bytes) and len(entries) < length:
        length = count + count % 2  # of one byte each
    table.add(descriptor)
    table.add(data)
    if isinstance(entries, bytes | MultiValue | list) and len(entries) > length:
        table.add(DataElement(data.tag, data.VR, entries[:length]))
    return table


def _pixels(ds: Dataset) -> DataElement:
    element, data = ds["PixelData"], endings.trimmed(ds)
    if data is element.value and element.VR in ("OB", "OW", "OB or OW"):
        return element
    packed = ds.file_meta.TransferSyntaxUID.is_encapsulated
    found = DataElement(element.tag, "OB" if packed or ds.BitsAllocated <= 8 else "OW", data)
    found.is_undefined_length = packed
    return found
