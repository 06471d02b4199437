"""Scripted readers err at their rates, the same way every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specimens import LABELS

from cxr.contract import labels
from cxr.contract.labels import State
from cxr.errors import JobError
from cxr.labeling import Job, Reader, scripted

PRESENT, ABSENT, UNCERTAIN = State.PRESENT, State.ABSENT, State.UNCERTAIN


def skilled(sensitivity=1.0, specificity=1.0, uncertain=0.0, seed=1):
    skill = {"sensitivity": sensitivity, "specificity": specificity, "uncertain": uncertain}
    return Reader("r", skill | {"seed": seed})


def truth(edema=ABSENT, opacity=ABSENT, devices=ABSENT):
    return {"Edema": edema, "Lung Opacity": opacity, "Support Devices": devices}


def answers(reader, true, images=2000):
    return [scripted.answer(LABELS, true, reader, f"image-{i}") for i in range(images)]


def share(said, name, state):
    return sum(states[name] is state for states in said) / len(said)


@given(st.tuples(*[st.sampled_from([PRESENT, ABSENT])] * 2))
def test_a_perfect_reader_says_what_was_drawn(drawn):
    opacity, devices = drawn

    said = scripted.answer(LABELS, truth(ABSENT, opacity, devices), skilled(), "image")

    assert list(said) == list(LABELS.names)
    assert said["Lung Opacity"] is opacity
    assert said["Support Devices"] is devices
    assert said["No Finding"] is (ABSENT if opacity is PRESENT else PRESENT)


def test_errors_come_at_the_rates_given():
    reader = skilled(sensitivity=0.8, specificity=0.9, uncertain=0.1)

    said = answers(reader, truth(devices=PRESENT))

    # three standard errors of a share of 2000
    assert share(said, "Support Devices", PRESENT) == pytest.approx(0.8 * 0.9, abs=0.03)
    assert share(said, "Support Devices", UNCERTAIN) == pytest.approx(0.1, abs=0.02)
    assert share(said, "Edema", ABSENT) == pytest.approx(0.9 * 0.9, abs=0.03)


def test_the_same_seed_errs_the_same_way_and_another_does_not():
    true = truth(edema=PRESENT)

    first = answers(skilled(0.5, 0.5), true, 50)

    assert answers(skilled(0.5, 0.5), true, 50) == first
    assert answers(skilled(0.5, 0.5, seed=2), true, 50) != first


def test_the_order_of_the_images_does_not_matter():
    reader = skilled(0.5, 0.5)
    forwards = [scripted.answer(LABELS, truth(), reader, f"{i}") for i in range(20)]

    backwards = [scripted.answer(LABELS, truth(), reader, f"{i}") for i in reversed(range(20))]

    assert backwards[::-1] == forwards


@given(st.integers(0, 10_000))
def test_an_answer_never_contradicts_itself(seed):
    said = scripted.answer(LABELS, truth(PRESENT, ABSENT), skilled(0.5, 0.5, 0.2, seed), "image")

    assert LABELS.contradictions(said) == []
    assert said["No Finding"] is labels.follow_no_finding(LABELS, said)


def test_truth_is_read_by_source(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("source,seed,Edema,Lung Opacity,Support Devices\na,7,1,0,0\n")

    assert scripted.read_truth(path, LABELS) == {"a": truth(edema=PRESENT)}


def test_without_truth_scripted_readers_cannot_read(tmp_path):
    (tmp_path / "truth.csv").write_text("source,Edema\na,1\n")

    with pytest.raises(JobError, match=r"none\.csv: scripted readers answer synthetic images only"):
        scripted.read_truth(tmp_path / "none.csv", LABELS)
    with pytest.raises(JobError, match=r"whose truth is not there .'Lung Opacity'"):
        scripted.read_truth(tmp_path / "truth.csv", LABELS)


def test_a_reader_that_cannot_go_on_says_why(tmp_path):
    reader = skilled()
    job = Job("demo", tmp_path, LABELS, (reader,))

    (script,) = scripted.start(job, {"r": "http://127.0.0.1:9/enter?token=x"}, {})
    script.join(10)

    assert isinstance(script.error, OSError)
