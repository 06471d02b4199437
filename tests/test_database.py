"""One file a job: old ones are brought up to date, and what is kept is never changed."""

import sqlite3
import threading

import pytest

from cxr.errors import JobError
from cxr.labeling import audit
from cxr.labeling.answers import Answers
from cxr.labeling.database import VERSION, Database

# as cxr 0.1.0 made it
FIRST = """
CREATE TABLE objects(
  object_id INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, line TEXT NOT NULL,
  labelled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE tasks(
  task_id TEXT PRIMARY KEY, object_id INTEGER NOT NULL REFERENCES objects, worker_id TEXT NOT NULL,
  accepted_at REAL NOT NULL, answered INTEGER NOT NULL DEFAULT 0, UNIQUE(object_id, worker_id));
CREATE TABLE answers(
  answer_id INTEGER PRIMARY KEY, task_id TEXT NOT NULL REFERENCES tasks, content TEXT NOT NULL,
  submitted_at REAL NOT NULL);
CREATE INDEX tasks_by_object ON tasks(object_id);
CREATE INDEX answers_by_task ON answers(task_id);
CREATE INDEX open_by_time ON tasks(accepted_at) WHERE answered=0;
CREATE INDEX open_by_worker ON tasks(worker_id) WHERE answered=0;
INSERT INTO objects VALUES(0, 'a', '{"source": "a"}', 0), (1, 'b', '{"source": "b"}', 0),
  (2, 'c', '{"source": "c", "job": {}}', 1);
INSERT INTO tasks VALUES('t1', 0, 'ann', 9e9, 1), ('t2', 0, 'bob', 9e9, 1),
  ('t3', 1, 'ann', 9e9, 0);
INSERT INTO answers VALUES(1, 't1', '"one"', 5), (2, 't2', '"two"', 6), (3, 't1', '"three"', 7);
"""

AS_IN_2 = "DROP TABLE returned; DROP INDEX drafts_by_worker;"


def opened(path, **changes):
    return Answers(path, workers_per_object=2, task_time_limit_s=60, **changes)


def test_a_job_begun_by_the_first_version_goes_on(tmp_path):
    path = tmp_path / "answers.db"
    with sqlite3.connect(path) as old:
        old.executescript(FIRST)
    old.close()

    answers = opened(path, audit_key=b"k")

    assert answers.counts() == (2, 3)
    assert answers.assign("ann").id == "t3"
    assert answers.assign("bob").object_id == 1
    (_, _, first), *_ = answers.results()
    assert [(a.worker_id, a.content, a.versions) for a in first] == [
        ("ann", '"three"', 2), ("bob", '"two"', 1)
    ]  # fmt: skip
    answers.close()
    assert audit.verify(path, [b"k"]) == 1 + 3 + 1
    assert opened(path).counts() == (2, 3)


def test_decisions_from_before_disputes_were_noted_are_about_all_of_them(tmp_path):
    path = tmp_path / "answers.db"
    answers = opened(path, audit_key=b"k")
    answers.add([{"source": "a"}])
    answers.close()
    with sqlite3.connect(path) as old:  # as it was before
        old.executescript(AS_IN_2)
        old.execute("ALTER TABLE decisions DROP COLUMN disputed")
        old.execute("PRAGMA user_version=1")
        old.execute("INSERT INTO decisions VALUES(1, 0, 'eve', '{}', 5)")
        detail = {"decision": 1, "sha256": audit.sha256("{}")}
        audit.append(old, b"k", "decided", worker="eve", source="a", **detail)
    old.close()
    assert audit.verify(path, [b"k"]) == 2

    answers = opened(path, audit_key=b"k")

    assert answers.decisions()[0].disputed is None
    assert answers.decide(0, "eve", '"new"', ["Edema"])
    assert answers.decisions()[0].disputed == ("Edema",)
    answers.close()
    assert audit.verify(path, [b"k"]) == 3


def test_a_job_begun_when_tasks_that_went_back_were_forgotten_goes_on(tmp_path):
    path = tmp_path / "answers.db"
    answers = opened(path, audit_key=b"k")
    answers.add([{"source": "a"}, {"source": "b"}])
    first, draft = answers.assign("ann"), '{"begun": true}'
    answers.submit(first.id, '"one"')
    second = answers.assign("ann")
    answers.save_draft(second.id, draft)
    answers.close()
    with sqlite3.connect(path) as old:
        old.executescript(AS_IN_2)
        old.execute("PRAGMA user_version=2")
    old.close()

    answers = opened(path, audit_key=b"k")

    assert answers.assign("ann") == second
    assert answers.draft(second.id) == draft
    assert answers.latest(first.id).content == '"one"'
    answers.close()
    assert audit.verify(path, [b"k"]) == 4  # listed, seen, answered, seen


def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "answers.db"
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version={VERSION + 1}")
    newer.close()

    with pytest.raises(JobError, match=rf"expected schema {VERSION} or earlier, met {VERSION + 1}"):
        Database(path)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    path = tmp_path / "answers.db"
    path.write_text("not a database, and longer than a header" * 100)

    with pytest.raises(JobError, match=r"answers\.db: expected a job's answers, met another file"):
        Database(path)


def test_a_transaction_that_fails_leaves_nothing(tmp_path):
    file = Database(tmp_path / "answers.db")

    def half_done():
        with file.transaction() as db:
            db.execute("INSERT INTO closings(closed) VALUES(1)")
            db.execute("INSERT INTO closings(closed) VALUES(NULL)")

    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL constraint failed"):
        half_done()

    with file.reading() as db:
        assert db.execute("SELECT count(*) FROM closings").fetchone() == (0,)
    file.close()


def test_reading_waits_for_no_writer(tmp_path):
    file = Database(tmp_path / "answers.db")
    found = []

    def read():
        with file.reading() as db:
            found.append(db.execute("SELECT count(*) FROM closings").fetchone())

    with file._writer:  # a write under way, outside the lock that threads share
        file._writer.execute("BEGIN IMMEDIATE")
        file._writer.execute("INSERT INTO closings(closed) VALUES(1)")
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(10)

    assert found == [(0,)]
    with file.reading() as db:
        assert db.execute("SELECT count(*) FROM closings").fetchone() == (1,)
    file.close()


@pytest.mark.parametrize("table", ["answers", "decisions", "audit"])
@pytest.mark.parametrize("change", ["UPDATE {} SET rowid=rowid+9", "DELETE FROM {}"])
def test_what_was_said_can_only_be_added_to(tmp_path, table, change):
    answers = opened(tmp_path / "answers.db")
    answers.add([{"source": "a"}])
    answers.submit(answers.assign("ann").id, "{}")
    answers.decide(0, "eve", "{}")

    with (
        sqlite3.connect(tmp_path / "answers.db") as db,
        pytest.raises(sqlite3.IntegrityError, match=f"{table} are only ever added to"),
    ):
        db.execute(change.format(table))
    db.close()
    answers.close()
