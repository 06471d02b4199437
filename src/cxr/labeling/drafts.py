"""What a worker has begun to answer: the page's own state, kept until she answers.

A draft belongs to the image and the worker rather than to the task: when a task went back after
its time limit, she finds her draft again wherever she meets the image next.
"""

import sqlite3

_TASK = "(SELECT object_id, worker_id, kind FROM tasks WHERE task_id=?)"


def save(db: sqlite3.Connection, task_id: str, content: str, now: float) -> None:
    """Keep the newest state of a task's page, and none before it."""
    db.execute(
        "INSERT OR REPLACE INTO drafts(object_id, worker_id, kind, content, saved_at)"
        " SELECT object_id, worker_id, kind, ?, ? FROM tasks WHERE task_id=?",
        (content, now, task_id),
    )


def of(db: sqlite3.Connection, task_id: str) -> str | None:
    """Give what was kept of a task's page."""
    row = db.execute(
        f"SELECT content FROM drafts WHERE (object_id, worker_id, kind)={_TASK}", (task_id,)
    ).fetchone()
    return row[0] if row else None


def drop(db: sqlite3.Connection, task_id: str) -> None:
    """Forget it: the task is answered."""
    db.execute(f"DELETE FROM drafts WHERE (object_id, worker_id, kind)={_TASK}", (task_id,))
