"""Readers' passphrases, and how often somebody may guess at them: one SQLite file per data root.

Only argon2id hashes are kept. A reader ID means one person in all jobs of a root, so she has one
passphrase for them. Nobody's passphrase can be read back; a new personal link lets her set another.
"""

import functools
import hashlib
import math
import os
import secrets
import sqlite3
import threading
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import argon2

from cxr import wal
from cxr.errors import AccessError

SHORTEST, LONGEST = 12, 1024
"""Characters of a passphrase. Length is what makes it hard to guess (NIST SP 800-63B 5.1.1.2)."""
_AT_ONCE = 2
"""Hashes computed at the same time: each takes 64 MiB, and anybody may ask for one."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS passphrases(
  reader_id TEXT PRIMARY KEY, hash TEXT NOT NULL, valid_from INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ended(token_hash BLOB PRIMARY KEY, expires REAL NOT NULL);
"""


class Accounts:
    """Passphrases and ended sessions of a data root; safe to use from several threads."""

    def __init__(self, path: Path, hasher: argon2.PasswordHasher | None = None) -> None:
        """Open or create the file, readable by its owner alone.

        Args:
            path: Of the SQLite database.
            hasher: How dear a guess is; None is argon2id as RFC 9106's second choice.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # made before SQLite does, which would follow the umask
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        self._hasher = hasher or argon2.PasswordHasher()
        self._hashing = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        wal.switch(self._db)
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def has_passphrase(self, reader_id: str) -> bool:
        """Say whether a reader set one."""
        return self._row(reader_id) is not None

    def set_passphrase(self, reader_id: str, passphrase: str, *, now: float | None = None) -> None:
        """Take a passphrase; every session and link from before it opens nothing any more.

        Args:
            reader_id: Whose.
            passphrase: Anything of `SHORTEST` to `LONGEST` characters.
            now: Seconds since the epoch; None asks the clock.

        Raises:
            AccessError: It is too short or too long; the message does not hold it.
        """
        length = len(_normal(passphrase))
        if not SHORTEST <= length <= LONGEST:
            raise AccessError(
                f"expected a passphrase of {SHORTEST} to {LONGEST} characters, met {length}"
            )
        with self._hashing:
            hashed = self._hasher.hash(_normal(passphrase))
        # tokens carry whole seconds: one of this very second may be older than the change
        valid_from = math.floor(time.time() if now is None else now) + 1
        with self._lock:
            self._db.execute(
                "INSERT INTO passphrases VALUES(?, ?, ?) ON CONFLICT(reader_id) DO UPDATE "
                "SET hash=excluded.hash, valid_from=excluded.valid_from",
                (reader_id.casefold(), hashed, valid_from),
            )

    def verify(self, reader_id: str | None, passphrase: str) -> bool:
        """Say whether a passphrase is the reader's.

        It takes as long for nobody, and for a reader who has none, as for a wrong passphrase.

        Args:
            reader_id: Whose; None is nobody's.
            passphrase: As typed.
        """
        row = None if reader_id is None else self._row(reader_id)
        nobody = self._nobody  # the first call makes it, whoever asks
        with self._hashing:
            try:
                matches = self._hasher.verify(row[0] if row else nobody, _normal(passphrase))
            except argon2.exceptions.VerificationError:
                return False
        return matches and row is not None

    def valid_from(self, reader_id: str) -> int:
        """Give the second from which on a token must be issued to count; 0 where any counts."""
        row = self._row(reader_id)
        return row[1] if row else 0

    def end(self, token: str, *, expires: float) -> None:
        """Let a session's token open nothing any more.

        Args:
            token: As in the cookie; only its hash is kept.
            expires: When it would end by itself, in seconds since the epoch.
        """
        with self._lock:
            self._db.execute("DELETE FROM ended WHERE expires < ?", (time.time(),))
            self._db.execute("INSERT OR IGNORE INTO ended VALUES(?, ?)", (_digest(token), expires))

    def ended(self, token: str) -> bool:
        """Say whether a session was ended before its time."""
        with self._lock:
            found = self._db.execute("SELECT 1 FROM ended WHERE token_hash=?", (_digest(token),))
            return found.fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _row(self, reader_id: str) -> tuple[str, int] | None:
        with self._lock:
            row: tuple[str, int] | None = self._db.execute(
                "SELECT hash, valid_from FROM passphrases WHERE reader_id=?",
                (reader_id.casefold(),),
            ).fetchone()
        return row

    @functools.cached_property
    def _nobody(self) -> str:
        return self._hasher.hash(secrets.token_hex(16))


@dataclass
class _Failures:
    count: int
    last: float


class Attempts:
    """Failed attempts by key: some are free, each further one doubles the wait.

    Kept in memory: a restart forgives. What names the key costs no more than its length.
    """

    FORGET_S = 3600.0
    LONGEST_WAIT_S = 900.0
    _MOST = 10_000

    def __init__(self, free: int) -> None:
        """Begin with nothing failed.

        Args:
            free: Failures before the first wait.
        """
        self._free = free
        self._lock = threading.Lock()
        self._failures: dict[str, _Failures] = {}

    def begin(self, key: str, *, now: float | None = None) -> float:
        """Count an attempt as failed, for now, unless it comes too early.

        Counted before the outcome is known, so that many at once gain nothing.

        Args:
            key: Of whom, or from where.
            now: Seconds of a clock that never goes back; None asks one.

        Returns:
            Seconds to wait before another attempt; 0 if this one may go on.
        """
        moment = time.monotonic() if now is None else now
        with self._lock:
            met = self._failures.get(key)
            if met is None or moment - met.last > self.FORGET_S:
                self._make_room()
                met = self._failures[key] = _Failures(0, moment)
            left = met.last + self._wait_s(met.count) - moment
            if left > 0:
                return left
            met.count, met.last = met.count + 1, moment
            return 0.0

    def take_back(self, key: str) -> None:
        """Uncount one attempt, which did not fail."""
        with self._lock:
            if key in self._failures:
                self._failures[key].count = max(0, self._failures[key].count - 1)

    def forgive(self, key: str) -> None:
        """Forget every attempt of a key."""
        with self._lock:
            self._failures.pop(key, None)

    def _wait_s(self, count: int) -> float:
        over = count - self._free
        return 0.0 if over < 0 else min(2.0 ** min(over + 1, 20), self.LONGEST_WAIT_S)

    def _make_room(self) -> None:
        if len(self._failures) >= self._MOST:
            oldest = sorted(self._failures, key=lambda key: self._failures[key].last)
            for key in oldest[: self._MOST // 10]:
                del self._failures[key]


def _normal(passphrase: str) -> str:
    # the same letters typed on another keyboard may be other code points (NIST SP 800-63B)
    return unicodedata.normalize("NFKC", passphrase)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
