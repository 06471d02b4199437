"""What the tables of a published set say, by image: on disk, since a set has 400,000 of them."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from cxr.pacs.ledger import explained
from cxr.pacs.published.tables import Entry

_SCHEMA = """
CREATE TABLE images (key TEXT PRIMARY KEY, patient TEXT, study TEXT, split TEXT, header TEXT,
    labels TEXT) WITHOUT ROWID;
CREATE TABLE boxes (key TEXT, label TEXT, x_min REAL, y_min REAL, x_max REAL, y_max REAL);
CREATE INDEX by_key ON boxes (key);
CREATE TABLE studies (key TEXT PRIMARY KEY, labels TEXT) WITHOUT ROWID;
"""


class Index:
    """Made anew for each ingest, in a file that SQLite deletes as soon as it has it open.

    Args:
        what: Named in errors.

    Raises:
        PacsError: The folder for temporary files cannot be written.
    """

    def __init__(self, what: Path) -> None:
        self.path = what
        with explained(what):
            self._db = sqlite3.connect("")  # on disk where it is large, and nobody else's
            self._db.execute("PRAGMA journal_mode = OFF")
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Forget what tables say: the published files say it again."""
        self._db.close()

    def put(self, key: str, entry: Entry) -> None:
        """Keep what a table says of an image; of two rows about one the last counts."""
        values = (
            key, entry.patient, entry.study, entry.split,
            json.dumps(dict(entry.header)), json.dumps(entry.labels),
        )  # fmt: skip
        with explained(self.path):
            self._db.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?)", values)

    def put_split(self, key: str, split: str, *, patient: str, study: str) -> None:
        """Keep in which split an image is, whatever else is known of it."""
        with explained(self.path):
            self._db.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, '{}', '[]') "
                "ON CONFLICT (key) DO UPDATE SET split = excluded.split",
                (key, patient, study, split),
            )

    def put_study(self, study: str, labels: tuple[str, ...]) -> None:
        """Keep the labels of a study."""
        with explained(self.path):
            self._db.execute(
                "INSERT OR REPLACE INTO studies VALUES (?, ?)", (study, json.dumps(labels))
            )

    def put_box(self, key: str, label: str, ends: tuple[float, float, float, float]) -> None:
        """Keep a region of an image: left, top, right and bottom in its pixels."""
        with explained(self.path):
            self._db.execute("INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?)", (key, label, *ends))

    def boxes(self, key: str) -> list[tuple[object, ...]]:
        """Give label, left, top, right and bottom of each region of an image."""
        sql = "SELECT label, x_min, y_min, x_max, y_max FROM boxes WHERE key = ? ORDER BY rowid"
        with explained(self.path):
            return self._db.execute(sql, (key,)).fetchall()

    def commit(self) -> None:
        """Let go of the tables: all is in."""
        with explained(self.path):
            self._db.commit()

    def get(self, key: str) -> Entry | None:
        """Give what is known of an image; its labels may be its study's."""
        with explained(self.path):
            found = self._db.execute(
                "SELECT header, patient, study, split, images.labels FROM images WHERE key = ?",
                (key,),
            ).fetchone()
        if found is None:
            return None
        header, patient, study, split, labels = found
        own = tuple(json.loads(labels))
        return Entry(json.loads(header), patient, study, split, own or self.study(study))

    def study(self, study: str) -> tuple[str, ...]:
        """Give the labels of a study; empty if no table has any."""
        with explained(self.path):
            sql = "SELECT labels FROM studies WHERE key = ?"
            found = self._db.execute(sql, (study,)).fetchone()
        return tuple(json.loads(found[0])) if found else ()

    def count(self) -> int:
        """Count the images that tables have rows about."""
        with explained(self.path):
            return int(self._db.execute("SELECT count(*) FROM images").fetchone()[0])

    def patients(self, split: str) -> Iterator[str]:
        """Stream the PatientIDs of a split, in order."""
        with explained(self.path):
            sql = "SELECT DISTINCT patient FROM images WHERE split = ? ORDER BY patient"
            yield from (row[0] for row in self._db.execute(sql, (split,)))
