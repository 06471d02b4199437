"""An adjudicator's newest decision counts; all of them are kept."""

import sqlite3

import pytest

from cxr.errors import ClosedError, JobError
from cxr.labeling.answers import Answers
from cxr.labeling.decisions import Decision, settles


@pytest.fixture
def answers(tmp_path):
    made = Answers(tmp_path / "answers.db", workers_per_object=1, task_time_limit_s=60)
    made.add({"source": f"image-{i}"} for i in range(3))
    made.add_known([({"source": "known"}, {"source": "known"})])
    yield made
    made.close()


def test_the_newest_decision_counts_and_all_are_kept(answers, tmp_path):
    news = [
        answers.decide(1, "eve", '"a"'),
        answers.decide(1, "eve", '"a"'),
        answers.decide(1, "kim", '"a"'),
        answers.decide(1, "eve", '"b"'),
        answers.decide(1, "eve", '"a"'),
        answers.decide(0, "eve", '"c"'),
    ]

    found = answers.decisions()

    # the third '"a"' of eve's is her first one, under way for long
    assert news == [True, False, True, True, False, True]
    assert {i: (d.worker_id, d.content, d.versions) for i, d in found.items()} == {
        0: ("eve", '"c"', 1), 1: ("eve", '"b"', 3)
    }  # fmt: skip
    assert found[0].decided_at > found[1].decided_at
    kept = sqlite3.connect(tmp_path / "answers.db").execute("SELECT content FROM decisions")
    assert [content for (content,) in kept] == ['"a"', '"a"', '"b"', '"c"']


def test_a_decision_changes_no_answer(answers):
    task = answers.assign("ann")
    answers.submit(task.id, '"said"')

    answers.decide(task.object_id, "eve", '"decided"')

    assert [a.content for _, _, found in answers.results() for a in found] == ['"said"']


@pytest.mark.parametrize("object_id", [3, -1])
def test_only_the_jobs_own_images_are_decided_on(answers, object_id):
    with pytest.raises(JobError, match=f"expected a data object of this job, met {object_id}"):
        answers.decide(object_id, "eve", "{}")


def test_a_closed_job_takes_no_decision(answers):
    answers.close_job("lead")

    with pytest.raises(ClosedError, match="this job is closed; ask its lead"):
        answers.decide(0, "eve", "{}")


def test_a_decision_is_about_what_was_in_dispute_when_it_was_taken(answers):
    news = [
        answers.decide(0, "eve", '"a"', ("Edema",)),
        answers.decide(0, "eve", '"a"', ()),
        answers.decide(0, "eve", '"a"', ("Edema", "Mass")),
        answers.decide(0, "eve", '"a"', ("Mass",)),
    ]

    newest = answers.decisions()[0]
    assert news == [True, False, True, False]
    assert newest.disputed == ("Edema", "Mass")
    assert settles(newest, ["Mass"])
    assert not settles(newest, ["Mass", "Nodule"])
    assert not settles(None, [])
    assert settles(Decision("eve", "{}", 0.0), ["Nodule"])  # an earlier program did not note it
