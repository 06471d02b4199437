"""Every rule of the doctor: what it objects to, what it lets pass, and who may switch it off."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from cxr import config, ingest_rules, schema
from cxr.errors import ConfigError, DicomError
from cxr.images import dicom, doctor, synth

ROOT = Path(__file__).parents[1]
GOOD, _ = synth.draw(0, size=(64, 56))
ONLY_OTHERS = {"duplicate_instance", "same_pixels", "same_study", "not_stored", "withdrawn"}
"""Rules that take more than a file, or a list of who has withdrawn."""


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def voi_lut() -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 8])
    item.add_new("LUTData", "US", [value >> 4 for value in range(4096)])
    return item


def changed(**attributes: Any) -> bytes:
    """The good file with other attributes; None takes one out."""
    ds = pydicom.dcmread(io.BytesIO(GOOD))
    for keyword, value in attributes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    file = io.BytesIO()
    ds.save_as(file)
    return file.getvalue()


def said(**attributes: Any) -> dict[str, str]:
    """Rule → what it met, of the good file changed."""
    return {v.rule: v.met for v in doctor.examine(changed(**attributes)).verdicts}


def pixels(highest: int, kind: str = "<u2") -> bytes:
    return np.linspace(0, highest, 64 * 56).astype(kind).tobytes()


def test_nothing_is_said_of_a_good_file() -> None:
    assert said() == {}


BORN = {"PatientBirthDate": "19800101", "StudyDate": "20200101"}
SPACED = {"PixelSpacing": [6.0, 6.0], "ImagerPixelSpacing": [6.6, 6.6]}
MET: list[tuple[dict[str, Any], str, str]] = [
    ({"Modality": "MG"}, "modality", "Modality is 'MG', expected one of CR, DX, DR, RG"),
    ({"BodyPartExamined": "KNEE"}, "body_part", "BodyPartExamined is 'KNEE', expected CHEST"),
    (
        {"BodyPartExamined": "", "AnatomicRegionSequence": [code("72696002", "Knee")]},
        "body_part",
        "AnatomicRegionSequence says '72696002 Knee', expected the chest",
    ),
    (
        {"BodyPartExamined": "", "StudyDescription": "Smith, left knee 2 views"},
        "body_part_unknown",
        "BodyPartExamined is empty, StudyDescription mentions KNEE",
    ),
    ({"BodyPartExamined": None}, "body_part_unknown", "BodyPartExamined is empty, expected CHEST"),
    ({"ViewPosition": "LATERAL"}, "lateral_view", "ViewPosition is 'LATERAL': a lateral view"),
    (
        {"ViewPosition": "", "ViewCodeSequence": [code("399067008", "lateral projection")]},
        "lateral_view",
        "ViewCodeSequence says '399067008 lateral projection': a lateral view",
    ),
    ({"ViewPosition": ""}, "unknown_view", "ViewPosition is empty, expected PA, AP, LL or RL"),
    ({"ViewPosition": "LAO"}, "unknown_view", "ViewPosition is 'LAO', expected PA, AP, LL or RL"),
    *(
        ({"PatientOrientation": way.split("\\")}, "orientation", f"is '{way}': {means}")
        for way, means in {
            "R\\F": "mirrored left to right",
            "L\\H": "flipped top to bottom",
            "R\\H": "turned by 180 degrees",
            "F\\R": "lies on its side",
            "P\\F": "a side view",
            "A\\H": "upside down",
            "L\\R": "no way to show a chest",
        }.items()
    ),
    ({"PatientOrientation": "L"}, "orientation", "'L', expected two directions such as L\\F"),
    ({"WindowCenter": None, "WindowWidth": None}, "window_missing", "neither WindowCenter"),
    (
        {"WindowCenter": [1, 2], "WindowWidth": 9},
        "window_contradictory",
        "has 2 of WindowCenter and 1 of WindowWidth",
    ),
    ({"WindowWidth": None}, "window_contradictory", "has 1 of WindowCenter and 0 of WindowWidth"),
    ({"WindowWidth": 0}, "window_contradictory", "WindowWidth is 0, expected at least 1"),
    ({"WindowWidth": "0.5"}, "window_contradictory", "WindowWidth is 0.5, expected at least 1"),
    (
        {"WindowWidth": "-3", "VOILUTFunction": "SIGMOID"},
        "window_contradictory",
        "WindowWidth is -3, expected more than 0",
    ),
    ({"WindowCenter": -9000}, "window_contradictory", "shows all pixels within 0 % of the greys"),
    ({"WindowWidth": 65536}, "window_contradictory", "shows all pixels within 5 % of the greys"),
    ({"PhotometricInterpretation": "MONOCHROME1"}, "monochrome1", "is 'MONOCHROME1'"),
    (
        {"PhotometricInterpretation": "MONOCHROME1"},
        "presentation_lut",
        "PresentationLUTShape is 'IDENTITY' with MONOCHROME1, expected INVERSE",
    ),
    (
        {"PresentationLUTShape": "INVERSE"},
        "presentation_lut",
        "PresentationLUTShape is 'INVERSE' with MONOCHROME2, expected IDENTITY",
    ),
    ({"HighBit": 15}, "odd_bits", "HighBit is 15 with BitsStored 12, expected 11"),
    ({"BitsStored": 8, "HighBit": 7}, "odd_bits", "BitsStored is 8 of BitsAllocated 16"),
    ({"BitsStored": 6, "HighBit": 5}, "odd_bits", "BitsStored is 6, expected at least 8"),
    (
        {"PixelData": pixels(5000)},
        "odd_bits",
        "holds values from 0 to 5000, more than BitsStored 12 can",
    ),
    (SPACED, "pixel_spacing", "ImagerPixelSpacing is 1.1 times PixelSpacing, and no calibration"),
    (
        SPACED | {"EstimatedRadiographicMagnificationFactor": "1.3"},
        "pixel_spacing",
        "but EstimatedRadiographicMagnificationFactor 1.3",
    ),
    ({"ImagerPixelSpacing": [0, 0]}, "pixel_spacing", "is 0\\0: expected more than 0"),
    ({"ImagerPixelSpacing": [6]}, "pixel_spacing", "ImagerPixelSpacing is 6: expected two numbers"),
    ({"ImagerPixelSpacing": [6, 5]}, "pixel_spacing", "is 6\\5: the pixels are not square"),
    ({"ImagerPixelSpacing": [0.2, 0.2]}, "pixel_spacing", "the picture would be 13 mm long"),
    ({"BurnedInAnnotation": "YES"}, "burned_in", "BurnedInAnnotation is 'YES'"),
    ({"BurnedInAnnotation": None}, "burned_in_unknown", "BurnedInAnnotation is empty"),
    ({"BurnedInAnnotation": "?"}, "burned_in_unknown", "BurnedInAnnotation is '?', expected NO"),
    ({"PatientAge": "411Y"}, "implausible_age", "PatientAge says 411 years"),
    ({"PatientAge": "62"}, "implausible_age", "PatientAge is '62', expected 045Y, 018M"),
    (
        {"PatientAge": "", "PatientBirthDate": "18500101"},
        "implausible_age",
        "the dates of birth and study say 176 years",
    ),
    ({"PatientAge": "017Y"}, "minor", "PatientAge says 17 years"),
    ({"PatientAge": "018M"}, "minor", "PatientAge says 18 months"),
    ({"PatientAge": "003W"}, "minor", "PatientAge says 1 months"),
    ({"PatientAge": "", **BORN, "PatientBirthDate": "20150101"}, "minor", "say 5 years"),
    (
        {"PatientAge": "062Y", **BORN},
        "contradicting_age",
        "PatientAge says 62 years, the dates of birth and study 40 years",
    ),
    ({"PatientBirthDate": "20300101"}, "contradicting_age", "StudyDate lies before PatientBirth"),
    ({"PatientName": "Doe^Jane"}, "identifying_tags", "holds PatientName"),
    (
        {"InstitutionName": "St. Elsewhere", "OperatorsName": "B^C"},
        "identifying_tags",
        "holds InstitutionName, OperatorsName",
    ),
]


@pytest.mark.parametrize(("attributes", "rule", "words"), MET)
def test_a_rule_says_what_it_met(attributes: dict[str, Any], rule: str, words: str) -> None:
    assert words in said(**attributes).get(rule, "nothing")


def test_every_rule_about_one_file_is_tested() -> None:
    elsewhere = {
        "unreadable", "no_identifiers", "no_patient", "contradicting_identifiers", "no_pixels",
        "multi_frame", "colour", "unsupported_bits", "unsupported_size",
    }  # fmt: skip
    asked = {name for name, _ in doctor.RULES} | {"unreadable"}

    assert asked == set(ingest_rules.RULES) - ONLY_OTHERS
    assert asked == {rule for _, rule, _ in MET} | elsewhere


def with_patient(raw: bytes) -> bytes:
    """The good file with these bytes as its PatientID."""
    old = b"\x10\0\x20\0LO\x0a\0SYN0-0001 "
    assert GOOD.count(old) == 1
    return GOOD.replace(old, old[:6] + len(raw).to_bytes(2, "little") + raw)


@pytest.mark.parametrize("patient", [b"P8 \0", b"P8\r\n", b"P\0x8", b"\tP8 ", b"\0\0P8"])
def test_control_characters_in_a_patient_id_keep_a_file_out(patient: bytes) -> None:
    found = doctor.examine(with_patient(patient))

    reason = "PatientID holds control characters, expected printable ones"
    assert [(v.rule, v.met) for v in found.verdicts if v.severity == "error"] == [
        ("no_patient", reason)
    ]
    with pytest.raises(DicomError, match=reason):
        dicom.identify(with_patient(patient))


@pytest.mark.parametrize("patient", [b"P8", b"P8  ", b"P8a\0", b"P8\0\0", b" P8 "])
def test_common_padding_of_a_patient_id_is_let_pass(patient: bytes) -> None:
    assert doctor.problems(with_patient(patient)) == []


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        ({"BodyPartExamined": "", "AnatomicRegionSequence": [code("51185008", "")]}, "body_part"),
        ({"BodyPartExamined": "", "AnatomicRegionSequence": [code("X", "Chest")]}, "body_part"),
        ({"PatientOrientation": ""}, "orientation"),
        ({"PatientOrientation": ["LF", "FR"]}, "orientation"),
        ({"PatientOrientation": ["P", "F"], "ViewPosition": "LL"}, "orientation"),
        ({"VOILUTSequence": [voi_lut()], "WindowWidth": 0}, "window_contradictory"),
        ({"WindowWidth": "0.5", "VOILUTFunction": "LINEAR_EXACT"}, "window_contradictory"),
        ({"WindowCenter": [2000, 900], "WindowWidth": [3000, 800]}, "window_contradictory"),
        ({"PixelRepresentation": 1, "PixelData": pixels(-9, "<i2")}, "odd_bits"),
        (SPACED | {"PixelSpacingCalibrationType": "FIDUCIAL"}, "pixel_spacing"),
        (SPACED | {"EstimatedRadiographicMagnificationFactor": "1.1"}, "pixel_spacing"),
        ({"PatientAge": "018Y"}, "minor"),
        ({"PatientAge": "120Y"}, "implausible_age"),
        ({"PatientAge": "041Y", **BORN}, "contradicting_age"),
        ({"PatientAge": "039Y", **BORN}, "contradicting_age"),
        ({"PatientName": "ANONYMOUS"}, "identifying_tags"),
        ({"PatientName": "SYN0^0001"}, "identifying_tags"),
        ({"InstitutionName": "REMOVED", "AccessionNumber": ""}, "identifying_tags"),
        ({"PatientIdentityRemoved": "YES", "InstitutionName": "NIH"}, "identifying_tags"),
    ],
)
def test_a_rule_lets_pass_what_is_right(attributes: dict[str, Any], rule: str) -> None:
    assert rule not in said(**attributes)


def test_who_it_is_never_gets_into_a_verdict() -> None:
    names = {
        "PatientName": "Vonnegut^Kurt", "PatientBirthDate": "19221111", "PatientAge": "017Y",
        "PatientAddress": "Dresden", "OtherPatientIDs": "SLAUGHTER5", "AccessionNumber": "A5551",
        "InstitutionName": "Vonnegut Hospital", "StudyDescription": "Vonnegut hand",
        "ReferringPhysicianName": "Pilgrim^Billy", "BodyPartExamined": "",
        "RequestAttributesSequence": [Dataset()],
    }  # fmt: skip
    nested = Dataset()
    nested.PatientTelephoneNumbers = "555-1969"
    nested.PersonName = "Trout^Kilgore"
    names["RequestAttributesSequence"] = [nested]

    found = doctor.examine(changed(**names)).verdicts

    text = " ".join(v.met for v in found)
    for secret in ("onnegut", "1922", "resden", "LAUGHTER", "5551", "ilgrim", "1969", "rout"):
        assert secret not in text
    listed = next(v.met for v in found if v.rule == "identifying_tags")
    assert "PatientTelephoneNumbers" in listed


def test_private_elements_are_counted() -> None:
    ds = pydicom.dcmread(io.BytesIO(GOOD))
    block = ds.private_block(0x0041, "ACME", create=True)
    block.add_new(1, "LO", "secret")
    block.add_new(2, "LO", "")
    file = io.BytesIO()
    ds.save_as(file)

    met = [v.met for v in doctor.examine(file.getvalue()).verdicts]

    assert met == ["holds 1 private element"]


def test_an_error_keeps_out_and_a_warning_only_tells() -> None:
    lateral = changed(ViewPosition="LL", PatientOrientation=["P", "F"])
    strict = doctor.check({"lateral_view": "error"})
    silent = doctor.check({"lateral_view": "off"})

    warned = doctor.examine(lateral)
    refused = doctor.examine(lateral, strict)
    unsaid = doctor.examine(lateral, silent)

    assert (warned.problems, bool(warned.pixel_hash)) == ((), True)
    assert (refused.problems, refused.pixel_hash) == (("ViewPosition is 'LL': a lateral view",), "")
    assert unsaid.verdicts == ()
    assert unsaid.pixel_hash == warned.pixel_hash


def test_a_rule_about_pixels_can_be_an_error() -> None:
    found = doctor.examine(changed(PixelData=pixels(5000)), doctor.check({"odd_bits": "error"}))

    assert found.problems == ("holds values from 0 to 5000, more than BitsStored 12 can",)
    assert found.pixel_hash == ""


def test_a_finding_travels_between_processes() -> None:
    found = doctor.examine(changed(Modality="CT"))

    assert pickle.loads(pickle.dumps(found)) == found
    assert found.instance is not None
    assert found.instance.patient_id == "SYN0-0001"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"unreadable": "off"}, r'ingest\.rules\.unreadable: expected error, met "off"; such'),
        ({"colour": "warning"}, r"ingest\.rules\.colour: expected error"),
        ({"lateral": "off"}, r"ingest\.rules\.lateral: no such rule; did you mean lateral_view\?"),
        ({"minor": "never"}, r'ingest\.rules\.minor: expected one of error, warning, off, met "ne'),
    ],
)
def test_rules_that_cannot_be_are_an_error(rules: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        doctor.check(rules)


def composed(*overrides: str) -> dict[str, str]:
    given = config.compose("ingest", ["folder=x", *overrides])
    return dict(config.check(given, schema.Ingest).ingest.rules)


@pytest.mark.parametrize("off", ["off", "'off'", "false"])
def test_off_on_the_command_line_is_off(off: str) -> None:
    assert composed(f"ingest.rules.lateral_view={off}")["lateral_view"] == "off"
    assert composed(f"ingest.rules={{minor: {off}}}") == {**doctor.DEFAULTS, "minor": "off"}


def test_off_in_a_file_is_off() -> None:
    given = config.compose("ingest", ["folder=x"])
    given.ingest.rules = yaml.safe_load("{lateral_view: off, burned_in: error}")

    rules = config.check(given, schema.Ingest).ingest.rules

    assert rules == {**doctor.DEFAULTS, "lateral_view": "off", "burned_in": "error"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ingest.rules.unreadable=off", r"^ingest\.rules\.unreadable: expected error, met"),
        ("ingest.rules.lateral=off", r"^ingest\.rules\.lateral: no such rule; did you mean lat"),
        ("ingest.rules.minor=true", r"^ingest\.rules\.minor: expected one of 'error', 'warning'"),
        ("ingest.rules=3", r"^ingest\.rules: expected a section with keys, met 3"),
    ],
)
def test_wrong_rules_in_a_config_are_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed(override)


def test_the_config_names_every_rule_that_has_a_switch() -> None:
    text = (ROOT / "conf" / "ingest.yaml").read_text()
    written = yaml.safe_load(text)["ingest"]["rules"]
    switches = {n: r for n, r in ingest_rules.RULES.items() if not r.fixed}

    assert list(written) == list(switches)
    for name, rule in switches.items():
        assert f"    {name}: {rule.severity} " in text
        assert f"# {rule.finds}\n" in text
    assert composed() == doctor.DEFAULTS


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=12), st.text(max_size=8), max_size=3))
def test_no_rules_whatever_crash_the_check(rules: dict[str, str]) -> None:
    if ingest_rules.problem(rules) is None:
        assert list(doctor.check(rules)) == list(ingest_rules.RULES)
        return
    with pytest.raises(ConfigError, match=r"^ingest\.rules\."):
        doctor.check(rules)
