"""SQLite files that several processes may open at once, the first time too."""

import sqlite3
import time

_WAIT_S = 30.0
_PAUSE_S = 0.01


def switch(connection: sqlite3.Connection) -> None:
    """Let readers of a database never wait for its writer.

    SQLite's own time-out does not cover this one statement: of two processes that open a new
    file in the same moment, one is told at once that it is locked. So it is asked again.

    Raises:
        sqlite3.OperationalError: The file stayed locked for half a minute, or cannot be written.
    """
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
