"""What is wrong with this file: every rule asked once, and what to do about each objection.

Rules that are errors keep a file out, warnings only tell; a config says which is which. A rule
names the attribute, the value met and what was expected, and never says who the patient is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from cxr import ingest_rules
from cxr.errors import DicomError
from cxr.images import attributes, dicom, persons, pixels, rules, windowing
from cxr.ingest_rules import Severity

VERSION = 3
"""Raise it when a rule changes: files refused under older rules are then looked at again."""

MODALITIES = ("CR", "DX", "DR", "RG")
"""CR and DX by the standard; DR and RG are met in the wild for the same."""

DEFAULTS = ingest_rules.DEFAULTS
"""Rule → severity, where a config says nothing else."""

check = ingest_rules.check
"""Give every rule's severity, from those a config names; `ConfigError` where it names no rule."""


@dataclass(frozen=True)
class Verdict:
    """One objection to one file.

    Attributes:
        rule: One of `ingest_rules.RULES`.
        severity: Whether it keeps the file out.
        met: What the file holds, and what was expected, as one sentence.
        advice: What to do.
    """

    rule: str
    severity: Severity
    met: str
    advice: str

    @property
    def reason(self) -> str:
        """Why, as one sentence."""
        return self.met


@dataclass(frozen=True)
class Finding:
    """What looking at one file gave.

    Attributes:
        verdicts: Errors and warnings, in the order in which the rules are asked.
        pixel_hash: Of the decoded pixels, hex; empty unless it may come in.
        instance: Its identifiers; None where it has none.
    """

    verdicts: tuple[Verdict, ...] = ()
    pixel_hash: str = ""
    instance: dicom.Instance | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Reasons against it; none means it may come in."""
        return tuple(v.reason for v in self.verdicts if v.severity == ingest_rules.ERROR)


def verdict(
    rule: str, met: str, severities: Mapping[str, Severity] = DEFAULTS
) -> tuple[Verdict, ...]:
    """Make the verdict of a rule that objects; none where it is off.

    Args:
        rule: Its name.
        met: The objection.
        severities: Every rule's, as `check` gives them.
    """
    severity = severities[rule]
    if severity == ingest_rules.OFF:
        return ()
    said = attributes.sentence(met)
    return (Verdict(rule, severity, said, ingest_rules.RULES[rule].advice),)


def problems(dicom: bytes | Path) -> list[str]:
    """List every reason why this file may not come in; none if it may. Decodes the pixels.

    >>> problems(b"file,finding_labels")
    ['not a DICOM file']
    """
    return list(examine(dicom).problems)


def examine(source: bytes | Path, severities: Mapping[str, Severity] = DEFAULTS) -> Finding:
    """Look at one file once: what is wrong or odd, who it is, and the hash of its pixels.

    Args:
        source: Part 10 bytes, or where they are.
        severities: Every rule's, as `check` gives them.
    """
    try:
        data = _bytes(source)
        ds = dicom.parse(data)
    except DicomError as error:
        return Finding(verdict("unreadable", str(error), severities))
    instance = _instance(ds, data)
    found: tuple[Verdict, ...] = ()
    for name, rule in RULES:
        if severities[name] == ingest_rules.OFF or (instance and rule is no_identifiers):
            continue
        if met := _ask(rule, ds, data):
            found += verdict(name, met, severities)
    if any(v.severity == ingest_rules.ERROR for v in found):
        return Finding(found, "", instance)
    try:
        with dicom.explained(data):
            more, pixel_hash = _look(ds, severities)
            said = {v.rule for v in found}
            more = tuple(v for v in more if v.rule not in said)
    except DicomError as error:
        return Finding(found + verdict("unreadable", str(error), severities), "", instance)
    refused = any(v.severity == ingest_rules.ERROR for v in more)
    return Finding(found + more, "" if refused else pixel_hash, instance)


def _bytes(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        if source.stat().st_size > dicom.MAX_BYTES:
            raise DicomError(f"is longer than {dicom.MAX_BYTES} bytes")
        return source.read_bytes()
    except OSError as error:
        raise DicomError(f"cannot be read: {error.strerror or error}") from error


def _instance(ds: Dataset, source: bytes) -> dicom.Instance | None:
    try:
        with dicom.explained(source):
            return dicom.instance(ds)
    except DicomError:
        return None  # the rule says why


def _ask(rule: Callable[[Dataset], str | None], ds: Dataset, source: bytes) -> str | None:
    try:
        with dicom.explained(source):
            return rule(ds)
    except DicomError as error:
        return str(error)


def _look(ds: Dataset, severities: Mapping[str, Severity]) -> tuple[tuple[Verdict, ...], str]:
    """Decode the pixels, once, and ask the rules about them."""
    stored = pixels.decode(ds)
    encoding = pixels.encoding(ds)
    # raises what is wrong with it
    table = windowing.table(ds, encoding, windowing.VOI, lambda: pixels.count(stored))
    signed = stored.view(f"i{stored.dtype.itemsize}") if encoding.signed else stored
    low, high = int(np.min(signed)), int(np.max(signed))
    mask = (1 << encoding.allocated) - 1
    found: tuple[Verdict, ...] = ()
    if met := rules.beyond_bits(encoding, low, high):
        found += verdict("odd_bits", met, severities)
    elif not rules.no_window(ds) and (met := rules.shows_little(table, low & mask, high & mask)):
        found += verdict("window_contradictory", met, severities)
    return found, pixels.digest(ds, stored)


def other_modality(ds: Dataset) -> str | None:
    """Projection radiography only."""
    met = dicom.text(ds, "Modality")
    if met in MODALITIES:
        return None
    return f"Modality is {attributes.shown(met)}, expected one of {', '.join(MODALITIES)}"


def no_patient(ds: Dataset) -> str | None:
    """Someone it was taken of, which DICOM does not ask for: a split by patients does."""
    if odd := dicom.odd_patient_id(ds):
        return odd
    return None if dicom.text(ds, "PatientID") else "PatientID is empty, splits need patients"


def no_identifiers(ds: Dataset) -> str | None:
    """Study, series and instance UIDs."""
    if not dicom.odd_patient_id(ds):
        dicom.instance(ds)  # raises the reason
    return None


def contradicting_identifiers(ds: Dataset) -> str | None:
    """The file's own meta information names the same instance."""
    meta = str(ds.file_meta.get("MediaStorageSOPInstanceUID", "")).strip(" \0")
    uid = dicom.text(ds, "SOPInstanceUID")
    if not meta or meta == uid:
        return None
    names = attributes.shown(uid), attributes.shown(meta)
    return f"SOPInstanceUID is {names[0]}, but MediaStorageSOPInstanceUID {names[1]}"


RULES: tuple[tuple[str, Callable[[Dataset], str | None]], ...] = (
    ("modality", other_modality),
    ("body_part", rules.other_body_part),
    ("no_identifiers", no_identifiers),
    ("no_patient", no_patient),
    ("contradicting_identifiers", contradicting_identifiers),
    ("no_pixels", pixels.no_pixels),
    ("multi_frame", pixels.many_frames),
    ("colour", pixels.not_grey),
    ("unsupported_bits", pixels.odd_bits),
    ("unsupported_size", pixels.odd_size),
    ("body_part_unknown", rules.no_body_part),
    ("lateral_view", rules.lateral_view),
    ("unknown_view", rules.unknown_view),
    ("orientation", rules.orientation),
    ("window_missing", rules.no_window),
    ("window_contradictory", rules.contradictory_window),
    ("monochrome1", rules.monochrome1),
    ("presentation_lut", rules.presentation_lut),
    ("odd_bits", rules.odd_bits),
    ("pixel_spacing", rules.pixel_spacing),
    ("burned_in", rules.burned_in),
    ("burned_in_unknown", rules.burned_in_unknown),
    ("implausible_age", persons.implausible_age),
    ("minor", persons.minor),
    ("contradicting_age", persons.contradicting_age),
    ("identifying_tags", persons.identifying_tags),
)
"""Those that a header answers; the pixels have two more to say, and several files the rest."""
