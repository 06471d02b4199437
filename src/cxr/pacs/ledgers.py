"""All ledgers of a data root at once: what goes from them when a patient withdraws."""

import secrets
import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from cxr import root
from cxr.pacs.ledger import connect, explained, keyed


def key(folder: Path) -> bytes:
    """Give the secret of a data root's keyed hashes."""
    return root.secret(folder, "ledger.key", secrets.token_hex(32)).encode()


def forget(folder: Path, orthanc_ids: Iterable[str], patient_ids: Iterable[str] = ()) -> int:
    """Remove every file that became one of these images, or is of these patients; say how many.

    Args:
        folder: The data root; all of its ledgers, and no ingest or copy at work.
        orthanc_ids: Of images.
        patient_ids: As they stand in the files.
    """
    for spool in (folder / "ingest").glob("*.spool"):  # of a run that was killed
        shutil.rmtree(spool)
    secret = key(folder)
    gone = {
        "orthanc_id": [(orthanc_id,) for orthanc_id in orthanc_ids],
        "patient_key": [(keyed(patient_id, secret),) for patient_id in patient_ids],
    }
    removed = 0
    for path in sorted((folder / "ingest").glob("*.sqlite")):
        with explained(path), closing(connect(path)) as db:
            db.execute("DELETE FROM listed")  # of a run that was killed; the next one lists anew
            for column, values in gone.items():
                sql = f"DELETE FROM files WHERE {column} = ?"
                removed += db.executemany(sql, values).rowcount if values else 0
            db.commit()
            db.execute("VACUUM")  # or it would stand in free pages still
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return removed
