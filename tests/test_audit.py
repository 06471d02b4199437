"""The audit log tells who did what; whoever changes anything behind its back is found."""

import json
import re
import shutil
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.contract import signing
from cxr.errors import JobError
from cxr.labeling import audit
from cxr.labeling.answers import Answers

KEY = b"k" * 32
WHERE = re.escape("answers.db: ")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A job with answers, corrections, a decision and an export, closed."""
    folder = tmp_path_factory.mktemp("job")
    answers = Answers(
        folder / "answers.db", workers_per_object=2, task_time_limit_s=60, audit_key=KEY
    )
    answers.add({"source": f"image-{i}"} for i in range(3))
    answers.add_known([({"source": "known"}, {"source": "known", "old": {}})])
    answers.record("signed-in", "ann", by="link")
    for worker in ("ann", "bob"):
        while task := answers.assign(worker):
            answers.submit(task.id, json.dumps({"by": worker, "of": task.object_id}))
    last = answers.answered("bob")[0].task_id
    answers.seen(last)
    answers.submit(last, '"corrected"')
    answers.decide(1, "eve", '"decided"')
    answers.close_job("lead")
    answers.record("exported", images=3)
    audit.note_head(folder, answers.head())
    answers.close()
    return folder


@pytest.fixture
def job(kept, tmp_path):
    """A copy of it, to be tampered with."""
    shutil.copytree(kept, tmp_path / "job")
    return tmp_path / "job" / "answers.db"


def tamper(path, *statements):
    """Change the file as one would who knows how to drop a trigger."""
    with sqlite3.connect(path) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)
    db.close()


def test_the_log_tells_who_did_what_with_which_image(kept):
    with sqlite3.connect(kept / "answers.db") as db:
        rows = db.execute("SELECT event, worker, source, detail FROM audit ORDER BY seq").fetchall()
    db.close()

    events = [row[0] for row in rows]
    assert events == [
        "listed", "listed", "signed-in",
        *["seen", "answered"] * 6, "seen", "corrected", "decided", "closed", "exported"
    ]  # fmt: skip
    assert {row[2] for row in rows if row[0] == "answered"} == {"image-0", "image-1", "image-2"}
    assert [row[1] for row in rows][-5:] == ["bob", "bob", "eve", "lead", ""]
    assert json.loads(rows[-3][3])["sha256"] == audit.sha256('"decided"')
    assert audit.verify(kept / "answers.db", [KEY]) == len(rows)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("time", "'2001-01-01T00:00:00.000000Z'"),
        ("event", "'corrected'"),
        ("worker", "'mallory'"),
        ("source", "'image-9'"),
        ("detail", "'{}'"),
        ("hash", "'00'"),
        ("worker", "x'ff'"),
    ],
)
def test_an_entry_that_was_changed_is_named(job, column, value):
    tamper(job, f"UPDATE audit SET {column}={value} WHERE seq=4")

    with pytest.raises(JobError, match=WHERE + "entry 4 of the audit log was changed"):
        audit.verify(job, [KEY])


def test_an_entry_that_was_taken_out_is_named(job):
    tamper(job, "DELETE FROM audit WHERE seq=4")

    with pytest.raises(JobError, match="entry 4 of the audit log is missing; the next one there"):
        audit.verify(job, [KEY])


def test_entries_that_changed_places_are_found(job):
    tamper(
        job,
        "UPDATE audit SET seq=-2 WHERE seq=2",
        "UPDATE audit SET seq=2 WHERE seq=3",
        "UPDATE audit SET seq=3 WHERE seq=-2",
    )

    with pytest.raises(JobError, match="entry 2 of the audit log was changed"):
        audit.verify(job, [KEY])


LISTED = "the 3 read data objects are not those that entry . of the audit log tells of"
CUT = "DELETE FROM audit WHERE seq>15"
UNCOUNTED = "UPDATE sqlite_sequence SET seq=15 WHERE name='audit'"


@pytest.mark.parametrize("more", [(), (UNCOUNTED,)], ids=["cut", "and SQLite's count put back"])
def test_a_log_that_was_cut_off_is_found(job, more):
    tamper(job, CUT, *more)

    with pytest.raises(JobError, match="entry 16 of the audit log is missing, and all up to 20"):
        audit.verify(job, [KEY])


def test_sqlites_count_tells_of_a_cut_off_end_even_without_heads(job):
    job.with_name(audit.HEAD).unlink()
    tamper(job, "DELETE FROM audit WHERE seq>18")

    with pytest.raises(JobError, match="entry 19 of the audit log is missing, and all up to 20"):
        audit.verify(job, [KEY])


def test_answers_tell_of_a_cut_off_end_even_without_heads(job):
    job.with_name(audit.HEAD).unlink()
    tamper(job, "DELETE FROM audit WHERE seq>13", UNCOUNTED.replace("15", "13"))

    with pytest.raises(JobError, match="answer 6 has no entry in the audit log"):
        audit.verify(job, [KEY])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE answers SET content='1' WHERE answer_id=2",
            "answer 2 is not the one that entry 7",
        ),
        (
            "UPDATE answers SET content='1' WHERE answer_id=7",
            "answer 7 is not the one that entry 17",
        ),
        ("DELETE FROM answers WHERE answer_id=7", "answer 7, told of in entry 17 .* is missing"),
        ("DELETE FROM answers WHERE answer_id=2", "answer 2, told of in entry 7 .* is missing"),
        ("UPDATE tasks SET worker_id='mallory' WHERE rowid=1", "answer 1 is not the one"),
        ("UPDATE objects SET source='other' WHERE object_id=1", LISTED),
        ("UPDATE objects SET line='{}' WHERE object_id=1", LISTED),
        ("UPDATE objects SET known='{}' WHERE object_id<0", LISTED.replace("3 read", "1 known")),
        ("DELETE FROM objects WHERE object_id=2", LISTED),
        (
            "INSERT INTO objects(object_id, source, line) VALUES(3, 'new', '{}')",
            "1 read data objects have no entry",
        ),
        (
            "INSERT INTO answers SELECT 99, task_id, content, 1, 0 FROM answers LIMIT 1",
            "answer 99 has no entry",
        ),
        ("UPDATE decisions SET content='1'", "decision 1 is not the one that entry 18"),
        ("UPDATE decisions SET worker_id='mallory'", "decision 1 is not the one that entry 18"),
        ("DELETE FROM decisions", "decision 1, told of in entry 18 .* is missing"),
    ],
)
def test_what_is_stored_is_held_against_the_log(job, change, said):
    tamper(job, change)

    with pytest.raises(JobError, match=WHERE + said):
        audit.verify(job, [KEY])


def test_a_log_written_anew_without_the_key_is_found(job):
    with sqlite3.connect(job) as db:
        db.execute("DROP TRIGGER audit_no_delete")
        rows = db.execute("SELECT event, worker, source, detail FROM audit ORDER BY seq").fetchall()
        db.execute("DELETE FROM audit")
        db.execute("DELETE FROM sqlite_sequence WHERE name='audit'")
        for event, worker, source, detail in rows:
            given = json.loads(detail)
            audit.append(db, b"guess", event, worker=worker, source=source, **given)
    db.close()

    with pytest.raises(JobError, match=r"entry 1 .* was changed, or is under another key"):
        audit.verify(job, [KEY])
    with pytest.raises(JobError, match=r"entry 20 .* is not the one that audit\.head noted"):
        audit.verify(job, [b"guess"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.data())
def test_no_cell_of_log_answers_or_decisions_can_be_changed(kept, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tampered") / "answers.db"
    for file in kept.iterdir():
        shutil.copy(file, path.parent)
    table, columns = data.draw(
        st.sampled_from(
            [
                ("audit", ("seq", "time", "event", "worker", "source", "detail", "hash")),
                ("answers", ("content",)),
                ("objects", ("source", "line", "known")),
                ("decisions", ("content", "worker_id", "object_id")),
            ]
        )
    )
    column = data.draw(st.sampled_from(columns))
    with sqlite3.connect(path) as db:
        rows = db.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
    db.close()
    row, old = data.draw(st.sampled_from(rows))
    new = data.draw(st.integers(0, 30) if isinstance(old, int) else st.text(max_size=9))

    if new == old or (column == "seq" and new in dict(rows)):
        return
    with sqlite3.connect(path) as db:
        for act in ("update", "delete"):
            db.execute(f"DROP TRIGGER IF EXISTS {table}_no_{act}")
        db.execute(f"UPDATE {table} SET {column}=? WHERE rowid=?", (new, row))
    db.close()

    with pytest.raises(JobError, match=r"audit log"):
        audit.verify(path, [KEY])


def test_a_key_that_no_longer_signs_still_verifies(tmp_path):
    old, both = (
        signing.keys_from_text(text) for text in (f"a:{'11' * 32}", f"b:{'22' * 32} a:{'11' * 32}")
    )
    for keys in (old, both):
        answers = Answers(
            tmp_path / "a.db", workers_per_object=1, task_time_limit_s=60,
            audit_key=audit.keys(keys)[0],
        )  # fmt: skip
        answers.record("signed-in", "ann")
        answers.close()

    assert audit.verify(tmp_path / "a.db", audit.keys(both)) == 2
    with pytest.raises(JobError, match=r"entry 2 .* was changed, or is under another key"):
        audit.verify(tmp_path / "a.db", audit.keys(old))


def test_verifying_needs_a_job_that_has_begun(tmp_path):
    (tmp_path / "other.db").write_text("not a database at all" * 100)
    sqlite3.connect(tmp_path / "old.db").execute("CREATE TABLE objects(a)").connection.close()

    with pytest.raises(JobError, match="expected a job that has begun, met no such file"):
        audit.verify(tmp_path / "none.db", [KEY])
    with pytest.raises(JobError, match="expected a job's answers, met another file"):
        audit.verify(tmp_path / "other.db", [KEY])
    with pytest.raises(JobError, match="this job began before there was a log"):
        audit.verify(tmp_path / "old.db", [KEY])


def test_a_head_that_cannot_be_read_is_named(job):
    job.with_name(audit.HEAD).write_text("nonsense\n")

    with pytest.raises(JobError, match=r"audit\.head:1: expected entries, hash and time, met"):
        audit.verify(job, [KEY])


def test_verifying_changes_nothing_and_may_run_beside_the_portal(tmp_path):
    answers = Answers(tmp_path / "a.db", workers_per_object=1, task_time_limit_s=60, audit_key=KEY)
    answers.add([{"source": "a"}])
    task = answers.assign("ann")

    assert audit.verify(tmp_path / "a.db", [KEY]) == 2

    answers.submit(task.id, "{}")
    assert audit.verify(tmp_path / "a.db", [KEY]) == 3
    answers.close()


def test_what_a_decision_was_about_cannot_be_changed(tmp_path):
    answers = Answers(
        tmp_path / "answers.db", workers_per_object=1, task_time_limit_s=60, audit_key=KEY
    )
    answers.add([{"source": "a"}])
    answers.decide(0, "eve", "{}", ["Edema"])
    answers.close()
    assert audit.verify(tmp_path / "answers.db", [KEY]) == 2

    tamper(
        tmp_path / "answers.db",
        """UPDATE decisions SET disputed='["Edema", "Mass"]'""",
    )

    with pytest.raises(JobError, match="decision 1 is not the one that entry 2 of the audit log"):
        audit.verify(tmp_path / "answers.db", [KEY])
