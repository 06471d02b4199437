"""What a reader has begun is there again wherever she goes on."""

import pytest

from cxr.errors import ClosedError, JobError, StaleError
from cxr.labeling.answers import Answers


def opened(folder, images=1, **changes):
    given = {"workers_per_object": 1, "task_time_limit_s": 3600} | changes
    answers = Answers(folder / "answers.db", **given)
    answers.add({"source": f"image-{i}"} for i in range(images))
    return answers


def test_the_newest_draft_is_kept_until_the_answer(tmp_path):
    answers = opened(tmp_path)
    task = answers.assign("ann")
    assert answers.draft(task.id) is None

    for content in ('{"a": 1}', '{"a": 2}'):
        answers.save_draft(task.id, content)
    answers.close()
    answers = opened(tmp_path)

    assert answers.draft(task.id) == '{"a": 2}'
    answers.submit(task.id, "{}")
    assert answers.draft(task.id) is None


def test_a_draft_is_found_again_after_its_task_went_back(tmp_path):
    answers = opened(tmp_path)
    left = answers.assign("ann")
    answers.save_draft(left.id, '{"begun": true}')
    answers.close()

    opened(tmp_path, task_time_limit_s=-1).assign("bob")
    again = opened(tmp_path, task_time_limit_s=-1).assign("ann")

    assert again.id != left.id
    assert opened(tmp_path).draft(again.id) == '{"begun": true}'


def test_nobody_sees_the_draft_of_another(tmp_path):
    answers = opened(tmp_path, workers_per_object=2)
    anns, bobs = answers.assign("ann"), answers.assign("bob")

    answers.save_draft(anns.id, '{"by": "ann"}')

    assert anns.object_id == bobs.object_id
    assert answers.draft(bobs.id) is None
    answers.submit(bobs.id, "{}")
    assert answers.draft(anns.id) == '{"by": "ann"}'


def test_a_hidden_repeat_begins_without_the_draft_of_its_image(tmp_path):
    answers = opened(tmp_path, images=60, repeat_share=0.5)
    while (task := answers.assign("ann")).kind == "read":
        answers.submit(task.id, "{}")
        answers.save_draft(task.id, '{"corrected": true}', versions=1)

    assert answers.draft(task.id) is None


def test_a_draft_needs_a_task_that_is_there_and_a_job_that_is_open(tmp_path):
    answers = opened(tmp_path)
    task = answers.assign("ann")

    with pytest.raises(JobError, match="this image went back after its time limit"):
        answers.save_draft("none", "{}")
    answers.close_job("lead")
    with pytest.raises(ClosedError, match="this job is closed"):
        answers.save_draft(task.id, "{}")


def test_a_draft_that_comes_after_the_answer_does_not_hide_it(tmp_path):
    answers = opened(tmp_path)
    task = answers.assign("ann")
    answers.submit(task.id, '"first"')

    with pytest.raises(StaleError, match="was answered since; open it again"):
        answers.save_draft(task.id, '{"late": true}')
    answers.save_draft(task.id, '{"correcting": 1}', versions=1)
    answers.submit(task.id, '"second"')
    with pytest.raises(StaleError, match="was answered since"):
        answers.save_draft(task.id, '{"correcting": 2}', versions=1)

    assert answers.draft(task.id) is None
