"""Who gets which image: always enough readers, never one twice unless it is meant, and unseen."""

import collections
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cxr.errors import JobError
from cxr.labeling import audit
from cxr.labeling.answers import Answers

READERS = ("ann", "bob", "eve")
KNOWN = [
    {"source": f"known-{i}", "labels": "Old", "old": {"findings": []}, "old-metadata": {}}
    for i in range(40)
]


def asked(known):
    return [({"source": line["source"], "labels": "Edema,No Finding"}, line) for line in known]


def opened(folder, *, wanted=1, images=3, known=(), **changes):
    answers = Answers(
        folder / "answers.db",
        **{"workers_per_object": wanted, "task_time_limit_s": 3600} | changes,
    )
    answers.add({"source": f"image-{i}"} for i in range(images))
    answers.add_known(asked(known))
    return answers


def work(answers, worker, most=10_000, *, ahead=False):
    """Answer until nothing is left; the tasks in their order."""
    done = []
    while len(done) < most and (task := answers.assign(worker)):
        if ahead:
            answers.ahead(worker)
        answers.submit(task.id, f'"{worker} {len(done)}"')
        done.append(task)
    return done


def test_the_image_ahead_is_the_next_one_and_stays_it(tmp_path):
    answers = opened(tmp_path, images=5)
    current = answers.assign("ann")

    ahead = answers.ahead("ann")

    assert ahead.object_id != current.object_id
    assert answers.ahead("ann") == ahead
    assert answers.assign("ann") == current
    answers.submit(current.id, "{}")
    following = answers.assign("ann")
    assert (following.id, following.object_id) == (ahead.id, ahead.object_id)
    assert following.accepted_at > ahead.accepted_at
    assert answers.ahead("ann").id != following.id


def test_nothing_is_ahead_of_nothing(tmp_path):
    answers = opened(tmp_path, images=1)

    assert answers.ahead("ann") is None
    answers.assign("ann")
    assert answers.ahead("ann") is None


def test_the_file_itself_refuses_a_second_open_task(tmp_path):
    answers = opened(tmp_path, images=2)
    answers.assign("ann")

    def insert():
        with answers._file.transaction() as db:
            db.execute(
                "INSERT INTO tasks(task_id, object_id, worker_id, kind, accepted_at)"
                " SELECT 'x', 1 - object_id, 'ann', 'read', 0 FROM tasks"
            )

    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: tasks\.worker_id"):
        insert()


def test_an_image_reserved_is_offered_to_nobody_else(tmp_path):
    answers = opened(tmp_path, images=2)
    taken = {answers.assign("ann").object_id, answers.ahead("ann").object_id}

    assert taken == {0, 1}
    assert answers.assign("bob") is None


def test_the_current_and_the_reserved_task_go_back_after_their_time(tmp_path):
    answers = opened(tmp_path, images=2)
    current, ahead = answers.assign("ann"), answers.ahead("ann")
    answers.close()

    hasty = opened(tmp_path, images=2, task_time_limit_s=0)
    first = hasty.assign("bob")

    assert hasty.task(current.id) is None
    assert hasty.task(ahead.id) is None
    assert first.object_id in (0, 1)
    taken = current if first.object_id == current.object_id else ahead
    with pytest.raises(JobError, match="this image went back after its time limit"):
        hasty.submit(taken.id, "{}")


def all_go_back(answers, folder, **changes):
    """Reopen the job as it is after the time limit."""
    answers.close()
    late = opened(folder, **changes, task_time_limit_s=-1)
    late.assign("nobody")
    with late._file.transaction() as db:
        db.execute("DELETE FROM tasks WHERE worker_id='nobody'")
    late.close()
    return opened(folder, **changes)


def test_who_comes_late_is_heard_while_nobody_else_has_the_image(tmp_path):
    answers = opened(tmp_path, wanted=2, audit_key=b"k")
    late, ahead = answers.assign("ann"), answers.ahead("ann")
    answers = all_go_back(answers, tmp_path, wanted=2, audit_key=b"k")
    assert answers.task(late.id) is answers.task(ahead.id) is None
    bobs = [answers.assign("bob"), answers.ahead("bob")]

    assert answers.submit(late.id, '"late"')
    assert not answers.submit(late.id, '"late"')
    assert answers.submit(late.id, '"corrected"')

    assert answers.task(late.id).answered
    assert answers.latest(late.id).accepted_at == late.accepted_at
    assert answers.answered_by("ann") == 1
    assert [answers.assign("bob").id, answers.ahead("bob").id] == [task.id for task in bobs]
    work(answers, "ann")
    work(answers, "bob")
    assert answers.counts() == (3, 3)
    answers.close()
    audit.verify(tmp_path / "answers.db", [b"k"])


def test_a_late_answer_leaves_the_images_she_has_since_before_her(tmp_path):
    answers = opened(tmp_path, images=4)
    late = answers.assign("ann")
    answers = all_go_back(answers, tmp_path, images=4)
    answers._offers._orders.clear()
    with answers._file.transaction() as db:  # she met others since
        db.execute("UPDATE objects SET labelled=1 WHERE object_id=?", (late.object_id,))
    held = [answers.assign("ann").id, answers.ahead("ann").id]
    with answers._file.transaction() as db:
        db.execute("UPDATE objects SET labelled=0 WHERE object_id=?", (late.object_id,))

    assert answers.submit(late.id, '"late"')

    assert [answers.assign("ann").id, answers.ahead("ann").id] == held
    assert len(work(answers, "ann")) == 3
    assert answers.counts() == (4, 4)


def test_a_late_answer_counts_under_the_task_she_has_on_the_image_now(tmp_path):
    answers = opened(tmp_path, images=1)
    late = answers.assign("ann")
    answers = all_go_back(answers, tmp_path, images=1)
    now = answers.assign("ann")

    assert answers.submit(late.id, '"late"')

    assert (answers.task(late.id), answers.latest(now.id).content) == (None, '"late"')
    assert answers.counts() == (1, 1)


@pytest.mark.parametrize("kind", ["known", "repeat"])
def test_a_late_answer_to_a_hidden_task_is_taken_like_any(tmp_path, kind):
    share = {"known_share" if kind == "known" else "repeat_share": 0.5}
    job = {"images": 60, "known": KNOWN[:5]} | share
    answers = opened(tmp_path, **job)
    while (late := answers.assign("ann")).kind != kind:
        answers.submit(late.id, "{}")
    answers = all_go_back(answers, tmp_path, **job)

    assert answers.submit(late.id, '"late"')
    assert answers.task(late.id).kind == kind


def test_an_image_that_others_have_answered_since_takes_no_late_answer(tmp_path):
    answers = opened(tmp_path, images=1)
    late = answers.assign("ann")
    answers = all_go_back(answers, tmp_path, images=1)
    work(answers, "bob")

    for say in (answers.submit, answers.save_draft):
        with pytest.raises(JobError, match="this image went back after its time limit"):
            say(late.id, "{}")


def test_she_goes_on_with_the_image_she_has_a_draft_of(tmp_path):
    for images in range(2, 12):  # else it might be the next one in her order by chance
        folder = tmp_path / str(images)
        answers = opened(folder, images=images)
        answers.submit(answers.assign("ann").id, "{}")
        begun = answers.assign("ann")
        answers.save_draft(begun.id, '{"begun": 1}')
        answers = all_go_back(answers, folder, images=images)

        again = answers.assign("ann")

        assert again.object_id == begun.object_id
        assert answers.draft(again.id) == '{"begun": 1}'
        assert len(work(answers, "ann")) == images - 1


def test_who_saves_drafts_is_at_work_and_keeps_the_image(tmp_path):
    answers = opened(tmp_path, images=2, wanted=1, task_time_limit_s=0.5)
    task = answers.assign("ann")

    for number in range(4):
        time.sleep(0.25)
        answers.save_draft(task.id, str(number))
        answers.assign("bob")
        assert answers.task(task.id).accepted_at == task.accepted_at
    time.sleep(0.6)
    answers.assign("bob")

    assert answers.task(task.id) is None


def test_a_draft_takes_an_image_again_unless_another_is_before_her(tmp_path):
    answers = opened(tmp_path, images=2)
    task = answers.assign("ann")
    answers = all_go_back(answers, tmp_path, images=2)

    answers.save_draft(task.id, '{"on": "it"}')

    assert answers.assign("ann").id == task.id
    answers = all_go_back(answers, tmp_path, images=2)
    with answers._file.transaction() as db:
        db.execute("DELETE FROM drafts")
    answers.submit(answers.assign("bob").id, "{}")
    answers.submit(answers.assign("bob").id, "{}")
    with pytest.raises(JobError, match="this image went back after its time limit"):
        answers.save_draft(task.id, "{}")


def test_an_answer_to_the_reserved_task_leaves_the_open_one_open(tmp_path):
    answers = opened(tmp_path, images=3)
    current, ahead = answers.assign("ann"), answers.ahead("ann")

    answers.submit(ahead.id, "{}")

    assert answers.assign("ann").id == current.id
    assert answers.answered_by("ann") == 1


def test_nobody_but_the_jobs_readers_is_given_an_image(tmp_path):
    answers = opened(tmp_path, readers=["ann"])

    assert answers.assign("ann")
    for ask in (answers.assign, answers.ahead):
        with pytest.raises(JobError, match="expected a reader of this job, met 'eve'"):
            ask("eve")


def test_the_order_is_the_same_with_and_without_an_image_ahead(tmp_path):
    orders = [
        [t.object_id for t in work(opened(tmp_path / str(ahead), images=30), "ann", ahead=ahead)]
        for ahead in (False, True)
    ]

    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(30))


def shares(tasks):
    count = collections.Counter(task.kind for task in tasks)
    return {kind: n / len(tasks) for kind, n in count.items()}


def test_known_images_and_repeats_come_at_their_shares(tmp_path):
    known = [{"source": f"known-{i}"} for i in range(200)]
    rules = {"known_share": 0.1, "repeat_share": 0.2}
    answers = opened(tmp_path, wanted=2, images=300, known=known, **rules)

    ann, bob = work(answers, "ann"), work(answers, "bob", ahead=True)

    for tasks in (ann, bob):
        found = shares(tasks)
        # three standard errors of a share of 430
        assert found["known"] == pytest.approx(0.1, abs=0.044)
        assert found["repeat"] == pytest.approx(0.2, abs=0.058)
        assert sum(t.kind == "read" for t in tasks) == 300
    assert [t.kind for t in ann] != [t.kind for t in bob]


def test_which_tasks_are_known_or_repeats_is_the_same_every_time(tmp_path):
    rules = {"known": KNOWN, "known_share": 0.2, "repeat_share": 0.2}
    runs = []
    for run in ("one", "two"):
        answers = opened(tmp_path / run, images=50, **rules)
        first = work(answers, "ann", 20)
        answers.close()
        again = opened(tmp_path / run, images=50, **rules)  # started again meanwhile
        runs.append([(t.kind, t.object_id) for t in first + work(again, "ann")])

    assert runs[0] == runs[1]


def test_a_repeat_comes_some_tasks_after_its_image_and_only_once(tmp_path):
    answers = opened(tmp_path, images=200, repeat_share=0.3)

    tasks = work(answers, "ann")

    place = {t.object_id: i for i, t in enumerate(tasks) if t.kind == "read"}
    again = [(t.object_id, i) for i, t in enumerate(tasks) if t.kind == "repeat"]
    assert len({object_id for object_id, _ in again}) == len(again) > 50
    for object_id, i in again:
        assert i - place[object_id] > max(3, min(20, i // 4))


def test_known_images_and_repeats_are_no_results(tmp_path):
    answers = opened(tmp_path, images=40, known=KNOWN, known_share=0.2, repeat_share=0.2)

    tasks = work(answers, "ann")

    assert answers.counts() == (40, 40)
    results = list(answers.results())
    assert [line["source"] for _, line, _ in results] == [f"image-{i}" for i in range(40)]
    said = {t.id: f'"ann {i}"' for i, t in enumerate(tasks)}
    of = {(t.object_id, t.kind): said[t.id] for t in tasks}
    for object_id, _, (answer,) in results:
        assert answer.content == of[object_id, "read"]
    known = answers.known_results()
    assert {(w, a.content) for w, _, a in known} == {
        ("ann", said[t.id]) for t in tasks if t.kind == "known"
    }
    assert all(line in KNOWN for _, line, _ in known)
    assert {(w, i, a.content, b.content) for w, i, a, b in answers.repeats()} == {
        ("ann", i, of[i, "read"], content) for (i, kind), content in of.items() if kind == "repeat"
    }


def test_no_reader_can_tell_which_images_are_known(tmp_path):
    answers = opened(tmp_path, images=40, known=KNOWN, known_share=0.4)

    known = next(t for t in work(answers, "ann") if t.kind == "known")

    assert known.data_object == {
        "source": KNOWN[-known.object_id - 1]["source"], "labels": "Edema,No Finding"
    }  # fmt: skip


def test_a_repeat_is_listed_like_any_other_task(tmp_path):
    answers = opened(tmp_path, images=40, known=KNOWN, known_share=0.2, repeat_share=0.3)
    tasks = work(answers, "ann")

    listed = answers.answered("ann")

    # what is left out of the list once it is answered was a repeat
    assert [a.task_id for a in listed] == [t.id for t in tasks][::-1]
    assert len(listed) == answers.position("ann")[0] == answers.answered_by("ann")


def test_no_correction_makes_a_reader_agree_with_herself(tmp_path):
    answers = opened(tmp_path, images=40, repeat_share=0.3)
    first = {}
    while (task := answers.assign("ann")).kind == "read":
        first[task.object_id] = task.id
        answers.submit(task.id, '"first"')
        answers.submit(task.id, '"at once"')
    answers.submit(first[task.object_id], '"peeped"')
    answers.submit(task.id, '"again"')
    answers.submit(first[task.object_id], '"again"')
    answers.submit(task.id, '"at once"')

    ((_, object_id, before, then),) = answers.repeats()

    assert object_id == task.object_id
    assert (before.content, before.versions) == ('"at once"', 2)
    assert (then.content, then.versions) == ('"again"', 1)


def test_a_repeat_that_goes_back_and_comes_again_was_met_when_it_first_came(tmp_path):
    answers = opened(tmp_path, images=40, repeat_share=0.3)
    first = {}
    while (task := answers.assign("ann")).kind == "read":
        first[task.object_id] = task.id
        answers.submit(task.id, '"first"')
    answers.submit(first[task.object_id], '"peeped"')
    answers.close()
    time.sleep(0.05)
    answers = opened(tmp_path, images=40, repeat_share=0.3, task_time_limit_s=0.02)
    again = answers.assign("ann")
    answers.submit(again.id, '"again"')

    assert (again.object_id, again.kind) == (task.object_id, "repeat")
    assert again.id != task.id
    ((_, _, before, then),) = answers.repeats()
    assert (before.content, then.content) == ('"first"', '"again"')


def test_how_many_there_will_be_betrays_no_hidden_task(tmp_path):
    answers = opened(tmp_path, images=60, known=KNOWN, known_share=0.15, repeat_share=0.15)
    told = []

    while task := answers.assign("ann"):
        told.append(answers.position("ann"))
        answers.submit(task.id, "{}")

    assert [n for n, _ in told] == list(range(len(told)))
    assert {total for _, total in told[: len(told) * 3 // 4]} == {round(60 / 0.7)}
    assert answers.position("ann") == (len(told), len(told))


def test_an_image_of_the_job_is_no_honeypot_even_if_it_comes_later(tmp_path):
    known = [{"source": "image-1"}, {"source": "other"}, {"source": "image-9"}]
    answers = opened(tmp_path, images=3, known_share=0.5)

    assert answers.add_known(asked(known)) == 2
    answers.add({"source": f"image-{i}"} for i in range(10))
    assert answers.add_known(asked(known)) == 1
    tasks = work(answers, "ann")
    assert [t.data_object["source"] for t in tasks if t.kind == "known"] == ["other"]
    assert answers.counts() == (10, 10)


def test_known_images_alone_are_offered_to_nobody(tmp_path):
    answers = opened(tmp_path, images=0, known=KNOWN, known_share=0.9)

    assert answers.assign("ann") is None


@pytest.mark.parametrize(("honeypots", "repeats"), [(0.5, 0.5), (-0.1, 0), (0, 1.5)])
def test_shares_that_cannot_be_are_refused(tmp_path, honeypots, repeats):
    with pytest.raises(JobError, match="expected shares of known and of repeated images from 0"):
        opened(tmp_path, known_share=honeypots, repeat_share=repeats)


def test_threads_keep_all_of_it(tmp_path):
    answers = opened(
        tmp_path, wanted=2, images=30, known=KNOWN, known_share=0.1, repeat_share=0.1,
        audit_key=b"k",
    )  # fmt: skip
    done = collections.defaultdict(list)

    def script(worker):
        done[worker] += work(answers, worker, ahead=True)

    threads = [threading.Thread(target=script, args=(w,)) for w in [*"abcd", "a", "b"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers.counts() == (30, 30)
    assert all(len(found) == 2 for _, _, found in answers.results())
    for worker in "abcd":  # two threads of one worker may answer the same task: kept as versions
        met = [(t.object_id, t.kind) for t in {t.id: t for t in done[worker]}.values()]
        assert len(met) == len(set(met))
    answers.close()
    assert audit.verify(tmp_path / "answers.db", [b"k"]) > 60


class Assigning(RuleBasedStateMachine):
    """Any order of asking, answering, waiting, adding and restarting."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.images, self.limit_s = 4, 3600
        self.said = {}
        self.left = []
        self.open()

    def open(self):
        self.answers = opened(
            Path(self.folder.name), wanted=2, images=self.images, known=KNOWN[:3],
            known_share=0.2, repeat_share=0.2, task_time_limit_s=self.limit_s,
            readers=READERS, audit_key=b"k",
        )  # fmt: skip

    @rule(worker=st.sampled_from(READERS), ahead=st.booleans())
    def ask(self, worker, ahead):
        task = (self.answers.ahead if ahead else self.answers.assign)(worker)
        again = (self.answers.ahead if ahead else self.answers.assign)(worker)
        assert (task and task.id) == (again and again.id)
        if task:
            assert not task.answered
            assert task.worker_id == worker

    @rule(worker=st.sampled_from(READERS), ahead=st.booleans())
    def answer(self, worker, ahead):
        task = self.answers.assign(worker)
        if task and ahead:
            task = self.answers.ahead(worker) or task
        if task:
            assert self.answers.submit(task.id, f'"{task.id}"')
            self.said[task.id] = f'"{task.id}"'

    @precondition(lambda self: self.said)
    @rule(data=st.data(), again=st.booleans())
    def say_again(self, data, again):
        task_id = data.draw(st.sampled_from(sorted(self.said)))
        content = self.said[task_id] if again else self.said[task_id] + " "
        assert self.answers.submit(task_id, content) is not again
        self.said[task_id] = content

    @rule(worker=st.sampled_from(READERS))
    def begin(self, worker):
        task = self.answers.assign(worker)
        if task:
            self.answers.save_draft(task.id, f'"{task.id} begun"')
            self.left.append(task)

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def come_late(self, data):
        task = data.draw(st.sampled_from(self.left))
        content = f'"{task.id} late"'
        try:
            new = self.answers.submit(task.id, content)
        except JobError:
            assert self.answers.task(task.id) is None
        else:
            if new:  # perhaps under the task she has had since
                with self.answers._file.reading() as db:
                    whose = task.object_id, task.worker_id, task.kind
                    (now,) = db.execute(
                        "SELECT task_id FROM tasks WHERE (object_id, worker_id, kind)=(?,?,?)",
                        whose,
                    ).fetchone()
                self.said[now] = content

    @rule()
    def all_open_ones_go_back(self):
        self.answers.close()
        self.limit_s = -1
        self.open()
        for worker in READERS:
            self.answers.assign(worker)
        self.answers.close()
        self.limit_s = 3600
        self.open()

    @precondition(lambda self: self.images < 12)
    @rule()
    def add(self):
        self.images += 1
        self.answers.add({"source": f"image-{i}"} for i in range(self.images))

    @rule()
    def restart(self):
        self.answers.close()
        self.open()

    @invariant()
    def nothing_is_lost_or_doubled(self):
        with self.answers._file.reading() as db:
            rows = db.execute(
                "SELECT object_id, worker_id, kind, ahead, answered_at FROM tasks"
            ).fetchall()
        met = [row[:3] for row in rows]
        assert len(met) == len(set(met))
        held = [(worker, ahead) for _, worker, _, ahead, at in rows if at is None]
        assert len(held) == len(set(held))
        given = collections.Counter(object_id for object_id, _, kind, *_ in rows if kind == "read")
        assert max(given.values(), default=0) <= 2
        first = {(i, w): at for i, w, kind, _, at in rows if kind == "read"}
        assert all(first[i, w] is not None for i, w, kind, *_ in rows if kind == "repeat")
        assert {w for _, w, *_ in rows} <= set(READERS)
        for task_id, content in self.said.items():
            assert self.answers.latest(task_id).content == content

    def teardown(self):
        for worker in READERS * 2:  # whatever went before, the job can be completed
            for task in work(self.answers, worker):
                self.said[task.id] = self.answers.latest(task.id).content
        total = self.answers.counts()[1]
        open_still = {w for w in READERS if self.answers.assign(w)}
        assert self.answers.counts() == (total, total)
        assert not open_still
        self.nothing_is_lost_or_doubled()
        self.answers.close()
        audit.verify(Path(self.folder.name) / "answers.db", [b"k"])
        self.folder.cleanup()


Assigning.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestAssigning = Assigning.TestCase
