"""Made-up reports are read as a radiologist would read them, by rules that can be replaced."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from report_texts import CODES, HARD, SENTENCES, WHOLE

from cxr import places
from cxr.contract.labels import LabelSet, State
from cxr.errors import ConfigError
from cxr.labeling import phrases, reports, sections
from cxr.labeling.mining import Miner

STATES = {"+": State.PRESENT, "-": State.ABSENT, "?": State.UNCERTAIN}
ORDER = ("addendum", "impression", "findings", "wet_read")
ENGLISH = phrases.read(reports.shipped())


def label_set(name):
    given = yaml.safe_load((places.shipped("conf") / "labels" / f"{name}.yaml").read_text())
    return LabelSet(
        name, tuple(given["names"]), given.get("no_finding"), tuple(given.get("compatible", ())),
        {parent: tuple(c) for parent, c in given.get("parents", {}).items()},
        given.get("aliases", {}),
    )  # fmt: skip


MIMIC = label_set("mimic_cxr")
MINER = Miner(ENGLISH, MIMIC, ORDER)


def said(text, miner=MINER):
    """What a text says, No Finding apart, in the codes' form."""
    codes = {name: code for code, name in CODES.items()}
    signs = {state: sign for sign, state in STATES.items()}
    found = miner.read(text)
    return {
        codes[name] + signs[e.state]
        for name, e in found.items()
        if name in codes and e.state in signs
    }


@pytest.mark.parametrize(("text", "expected"), SENTENCES, ids=[text for text, _ in SENTENCES])
def test_a_sentence_says_what_a_radiologist_means(text, expected):
    assert said(text) == set(expected.split())


@pytest.mark.parametrize(("text", "expected"), HARD, ids=[text for text, _ in HARD])
def test_what_a_cue_does_not_reach_keeps_its_own_meaning(text, expected):
    assert said(text) == set(expected.split())


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_report_is_read_by_its_sections(name):
    text, expected = WHOLE[name]

    assert said(text) == set(expected.split())


def test_what_nothing_speaks_of_is_not_mentioned_and_without_phrases_not_asked():
    few = LabelSet("few", ("Edema", "Scoliosis", "No Finding"), no_finding="No Finding")

    found = Miner(ENGLISH, few, ORDER).read("No effusion.")

    assert {name: e.state for name, e in found.items()} == {
        "Edema": State.NOT_MENTIONED,
        "Scoliosis": State.NOT_ASKED,
        "No Finding": State.NOT_ASKED,
    }


def test_no_finding_follows_from_the_other_findings():
    states = [MINER.read(text)["No Finding"].state for text in (
        "Normal chest radiograph. Pacemaker.", "Edema.", "Possible edema.", "Pacemaker.", ""
    )]  # fmt: skip

    assert states == [
        State.PRESENT, State.ABSENT, State.UNCERTAIN, State.NOT_MENTIONED, State.NOT_MENTIONED
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", [text for text, _ in SENTENCES + HARD] + [t for t, _ in WHOLE.values()]
)
def test_no_child_is_present_where_its_parent_is_absent(text):
    states = {name: e.state for name, e in MINER.read(text).items()}

    assert MIMIC.contradictions(states) == []


@pytest.mark.parametrize("name", ["mimic_cxr", "nih14", "chexpert5"])
def test_every_finding_of_the_shipped_label_sets_has_phrases(name):
    labels = label_set(name)

    found = Miner(ENGLISH, labels, ORDER).read("")

    assert {found[name].state for name in labels.findings} == {State.NOT_MENTIONED}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hiatal hernia.", {"Hernia": "present"}),
        ("Emphysematous changes, no fibrosis.", {"Emphysema": "present", "Fibrosis": "absent"}),
        ("Left basilar infiltrate.", {"Infiltration": "present"}),
        ("A 2.5 cm mass. No nodule.", {"Mass": "present", "Nodule": "absent"}),
        ("Biapical pleural thickening.", {"Pleural_Thickening": "present"}),
        ("Small effusion.", {"Effusion": "present"}),
        ("Subcutaneous emphysema.", {}),
    ],
)
def test_findings_of_nih_are_told_apart(text, expected):
    found = Miner(ENGLISH, label_set("nih14"), ORDER).read(text)

    told = {n: str(e.state) for n, e in found.items() if e.state in STATES.values()}
    told.pop("No Finding", None)
    assert told == expected


def test_the_sections_asked_first_have_the_say():
    text = "FINDINGS: Small effusion.\n\nIMPRESSION: No effusion."

    assert said(text) == {"EF-"}
    assert said(text, Miner(ENGLISH, MIMIC, ("findings", "impression"))) == {"EF+"}


def test_evidence_names_the_phrase_and_where_it_stands():
    text = "FINDINGS: Clear.\nIMPRESSION: No pleural effusion."

    evidence = MINER.read(text)["Pleural Effusion"]

    assert (evidence.rule, evidence.phrase, evidence.cue) == (
        "negated",
        "pleural effusion(s)",
        "no",
    )
    assert evidence.section == "impression"
    assert text[evidence.start : evidence.end] == "pleural effusion"


def test_a_dot_in_a_number_or_an_abbreviation_ends_no_sentence():
    text = "No nodule of 2.5 cm, e.g. Dr. Example, or mass. Edema."
    (section,) = sections.split(text, ENGLISH)

    found = [" ".join(s.words) for s in sections.sentences(text, section, ENGLISH)]

    assert found == ["no nodule of 2 5 cm , e g dr example , or mass", "edema"]


alphabet = st.text(max_size=400)
words = st.lists(
    st.sampled_from([
        "no", "effusion", "pneumothorax", ",", "or", "and", ".", "\n", "\n\n", "but", "heart", "is",
        "enlarged", "normal", "cannot be excluded", "FINDINGS:", "IMPRESSION:", "lungs", "clear",
        "may", "pneumonia", "history of", "(", ")", "?", ";", "1.", "-", "___", "not", "seen",
    ]),
    max_size=120,
).map(" ".join)  # fmt: skip


@settings(max_examples=150)
@given(st.one_of(alphabet, words))
def test_any_text_is_read_and_every_offset_lies_in_it(text):
    found = MINER.read(text)

    assert list(found) == list(MIMIC.names)
    for evidence in found.values():
        if evidence.start is not None:
            assert 0 <= evidence.start < evidence.end <= len(text)
    assert MIMIC.contradictions({name: e.state for name, e in found.items()}) == []


@pytest.mark.parametrize(
    "piece",
    ["no ", "effusion ", "heart ", "no effusion, ", "A ", " \n", "____\n", "FINDINGS",
     "cardiac and ", "(", "\t", "not seen ", "a.", "effusion or ", "F:", "lungs [", "\n\n", "- "],
)  # fmt: skip
def test_time_grows_with_the_text_and_no_faster(piece):
    def seconds(length):
        text = (piece * (length // len(piece) + 1))[:length]
        begun = time.perf_counter()
        MINER.read(text)
        return time.perf_counter() - begun

    seconds(2_000)

    assert seconds(80_000) < 20 * max(seconds(16_000), 0.02)  # five times where it is linear


def edema(phrases):
    return lambda document: document["findings"].update(Edema={"present": phrases})


def replaced(tmp_path, change):
    document = yaml.safe_load(reports.shipped().read_text())
    change(document)
    path = tmp_path / "phrases.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_site_may_bring_phrases_of_its_own(tmp_path):
    def change(document):
        document["findings"] = {"Edema": {"present": ["wet lungs", "soggy [looking] lung(s)"]}}
        document["normal"] = {}

    own = phrases.read(replaced(tmp_path, change))

    assert said("No soggy looking lung.", Miner(own, MIMIC, ORDER)) == {"ED-"}
    assert Miner(own, MIMIC, ORDER).read("")["Fracture"].state is State.NOT_ASKED


@pytest.mark.parametrize(
    ("change", "met"),
    [
        (lambda d: d.update(finding={}), 'the file: expected keys out of .*, met "finding"'),
        (lambda d: d["findings"].update(Edema={"presnt": "x"}), 'met "presnt"'),
        (edema(3), "expected phrases between commas, met '3'"),
        (edema("a,,b"), "between two commas, met nothing"),
        (edema(".. edema"), "expected words at both ends"),
        (edema("<lung> edema"), 'key of words, met "lung"'),
        (edema("ede*"), "expected words of letters and digits"),
        (lambda d: d["normal"]["lungs clear"].update(absent="Oedema"), 'findings, met "Oedema"'),
        (lambda d: d["lists"].update(verbs="is, has been"), 'single words, met "has been"'),
        (lambda d: d["sections"].update(findings="impression"), "is a heading of|already"),
        (lambda d: d["cues"].update(maybe={}), 'cues: expected keys out of .*, met "maybe"'),
        (lambda d: d.pop("cues"), "cues: expected a section with keys, met 'None'"),
        (edema(" ".join(["[a]"] * 12) + " b"), "ways; split it"),
    ],
)  # fmt: skip
def test_phrases_that_cannot_be_are_refused_in_one_line(tmp_path, change, met):
    path = replaced(tmp_path, change)

    with pytest.raises(ConfigError, match=met) as caught:
        phrases.read(path)

    assert str(caught.value).startswith(f"labeling.phrases: {path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["findings: [", "\tx: 1", "- a", ""])
def test_a_file_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "p.yaml").write_text(text)

    with pytest.raises(ConfigError, match=r"labeling\.phrases: .*p\.yaml: .*expected"):
        phrases.read(tmp_path / "p.yaml")
    with pytest.raises(ConfigError, match=r"YAML of phrases, met .*none\.yaml: no such file"):
        phrases.read(tmp_path / "none.yaml")


def test_a_section_that_no_heading_names_is_refused():
    with pytest.raises(
        ConfigError, match=r'labeling\.sections: expected some of .*, met "finding"'
    ):
        Miner(ENGLISH, MIMIC, ("finding",))


def test_a_label_set_without_any_phrases_is_refused():
    with pytest.raises(ConfigError, match="expected phrases for findings of label set 'bones'"):
        Miner(ENGLISH, LabelSet("bones", ("Scoliosis",)), ORDER)
