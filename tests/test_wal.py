"""A new database may be opened by several at the same moment."""

import sqlite3
import threading

import pytest

from cxr import wal


def opened_together(path, switch, count=8):
    """Open one new file by several connections at once; gives what went wrong."""
    ready, wrong = threading.Barrier(count), []

    def work():
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            ready.wait()
            switch(connection)
            connection.execute("CREATE TABLE IF NOT EXISTS t(x)")
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        except sqlite3.OperationalError as error:
            wrong.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_nobody_is_refused_a_file_that_others_open_too(tmp_path):
    assert [opened_together(tmp_path / f"{i}.db", wal.switch) for i in range(40)] == [[]] * 40


def test_a_file_that_is_no_database_is_said_at_once(tmp_path):
    (tmp_path / "a.db").write_bytes(b"no database" * 1000)

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        wal.switch(sqlite3.connect(tmp_path / "a.db"))
