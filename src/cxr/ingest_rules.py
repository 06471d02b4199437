"""What is looked for in a file on its way in: the one table of rules, and who may change what.

The checks themselves are in `images` and `pacs`; here is what a config, a report and the docs say
of them. A rule that is always an error stands for files nothing here could read or tell apart.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cxr.errors import ConfigError

Severity = Literal["error", "warning", "off"]

ERROR: Severity = "error"
WARNING: Severity = "warning"
OFF: Severity = "off"
SEVERITIES: tuple[Severity, ...] = (ERROR, WARNING, OFF)


@dataclass(frozen=True)
class Rule:
    """One rule as users see it.

    Attributes:
        severity: Unless the config says otherwise; only an error keeps a file out.
        finds: What it objects to, a few words.
        advice: What to do about it, one sentence without a full stop.
        fixed: Always an error; there is no switch.
    """

    severity: Severity
    finds: str
    advice: str
    fixed: bool = False


def _always(finds: str, advice: str) -> Rule:
    return Rule(ERROR, finds, advice, fixed=True)


RULES: Mapping[str, Rule] = {
    "unreadable": _always(
        "no DICOM file, cut off, damaged, or pixels that cannot be decoded",
        "fetch the file again from its source; if it is the same there, leave it out",
    ),
    "no_identifiers": _always(
        "no study, series or instance UID",
        "export the image again with its UIDs",
    ),
    "no_patient": _always(
        "an empty PatientID, or one with control characters",
        "give each patient a PatientID, a pseudonym will do: folds divide patients",
    ),
    "contradicting_identifiers": _always(
        "a SOPInstanceUID other than that of the file's meta information (PS3.10 7.1)",
        "export the image again: one of its two names is wrong",
    ),
    "no_pixels": _always(
        "no pixels, or pixels that are floating point numbers",
        "export the image itself rather than a report, a map or a cut-off file",
    ),
    "multi_frame": _always(
        "more than one frame",
        "export the radiograph as a file of its own",
    ),
    "colour": _always(
        "RGB, YBR or palette colour instead of MONOCHROME1 or MONOCHROME2",
        "export the original radiograph, no screenshot or secondary capture",
    ),
    "unsupported_bits": _always(
        "BitsAllocated other than 8 or 16, or BitsStored beyond it (PS3.5 8.1.1)",
        "export the image again with 8 or 16 bits allocated",
    ),
    "unsupported_size": _always(
        "no rows or columns, or absurdly many",
        "export the image again: its size is wrong",
    ),
    "not_stored": _always(
        "a file that the PACS did not take, or that changed while it was read",
        "see why in the PACS's own log, and run it again",
    ),
    "withdrawn": _always(
        "a patient who has withdrawn",
        "leave the file out; docs/ingest.md says how to let the patient in again",
    ),
    "modality": Rule(
        ERROR,
        "a Modality other than CR, DX, DR or RG",
        "leave it out; where the Modality alone is wrong, correct it at the source",
    ),
    "body_part": Rule(
        ERROR,
        "BodyPartExamined or AnatomicRegionSequence not the chest",
        "leave it out; where many are wrongly named, set ingest.rules.body_part=warning",
    ),
    "duplicate_instance": Rule(
        ERROR,
        "a SOPInstanceUID that is here already, with other content",
        "keep the one that is right, or give the other a UID of its own",
    ),
    "body_part_unknown": Rule(
        WARNING,
        "no body part stated at all",
        "look at the image, its description may help; then state BodyPartExamined at the source",
    ),
    "lateral_view": Rule(
        WARNING,
        "a lateral view, by ViewPosition or else ViewCodeSequence",
        "nothing, unless the model is for frontal views: then set ingest.rules.lateral_view=error",
    ),
    "unknown_view": Rule(
        WARNING,
        "not stated, or neither frontal nor lateral",
        "look at the image: it may be lateral, which no header here tells",
    ),
    "orientation": Rule(
        WARNING,
        "a PatientOrientation other than L\\F (laterals: A\\F or P\\F)",
        "turn or flip it at the source: images are shown and learned from as they are stored",
    ),
    "window_missing": Rule(
        WARNING,
        "neither window nor VOI LUT",
        "nothing: percentiles 0.5 to 99.5 of the pixels become black and white",
    ),
    "window_contradictory": Rule(
        WARNING,
        "incomplete, not positive, or next to nothing seen (PS3.3 C.11.2)",
        "look at the image; where it is black, white or flat, correct the window at the source",
    ),
    "monochrome1": Rule(
        WARNING,
        "MONOCHROME1, low values are white",
        "nothing: it is read inverted, so black is air",
    ),
    "presentation_lut": Rule(
        WARNING,
        "PresentationLUTShape against photometric (PS3.3 C.8.11.3)",
        "look at the image: PhotometricInterpretation is believed, lungs should be dark",
    ),
    "odd_bits": Rule(
        WARNING,
        "HighBit or values beyond BitsStored, 8 bits in 16, fewer than 8",
        "look at the image: bits beyond BitsStored are ignored, and few bits are few greys",
    ),
    "pixel_spacing": Rule(
        WARNING,
        "PixelSpacing against ImagerPixelSpacing, or lengths that cannot be",
        "do not trust lengths in mm of this image; correct the spacing at the source",
    ),
    "burned_in": Rule(
        WARNING,
        "BurnedInAnnotation YES",
        "look for names in the picture, and black them out or leave the image out",
    ),
    "burned_in_unknown": Rule(
        WARNING,
        "no BurnedInAnnotation",
        "look at some images of this device before showing them to others",
    ),
    "implausible_age": Rule(
        WARNING,
        "an age over 120 years, or none that can be read",
        "correct PatientAge at the source, or do not use ages",
    ),
    "minor": Rule(
        WARNING,
        "an age under 18 years",
        "leave children out of a model for adults: set ingest.rules.minor=error",
    ),
    "contradicting_age": Rule(
        WARNING,
        "PatientAge over a year off the dates of birth and study",
        "find out which of the two is wrong, or do not use ages",
    ),
    "identifying_tags": Rule(
        WARNING,
        "names, birth dates, staff, private elements (PS3.15 E.1)",
        "take them out with ingest.deidentify=basic",
    ),
    "same_pixels": Rule(
        WARNING,
        "the same pixels under two patients",
        "find out whose image it is: across a split it leaks",
    ),
    "same_study": Rule(
        WARNING,
        "one StudyInstanceUID under two patients",
        "find out whose study it is: some servers then find neither",
    ),
}
"""In the order in which a report lists them."""

DEFAULTS: Mapping[str, Severity] = {name: rule.severity for name, rule in RULES.items()}


def problem(rules: Mapping[str, str]) -> str | None:
    """Say what is wrong with severities that a config gives, as `rule: expected …`, or None.

    >>> problem({"lateral": "off"})
    'lateral: no such rule; did you mean lateral_view?'
    """
    for name, severity in rules.items():
        if name not in RULES:
            near = difflib.get_close_matches(str(name), RULES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(RULES)}"
            return f"{name}: no such rule; {hint}"
        if severity not in SEVERITIES:
            return f'{name}: expected one of {", ".join(SEVERITIES)}, met "{severity}"'
        if RULES[name].fixed and severity != ERROR:
            return (
                f'{name}: expected error, met "{severity}"; '
                "such files cannot be read or told apart, so the rule has no switch"
            )
    return None


def check(rules: Mapping[str, str]) -> dict[str, Severity]:
    """Give every rule's severity: the defaults, and over them what a config says.

    Raises:
        ConfigError: No such rule or severity, or a rule that is always an error.
    """
    if wrong := problem(rules):
        raise ConfigError(f"ingest.rules.{wrong}")
    return {name: rules.get(name, DEFAULTS[name]) for name in RULES}  # type: ignore[misc]
