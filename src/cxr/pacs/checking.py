"""Looking at files in processes of their own: what is wrong, who it is, and ready to be stored.

A decoder may crash, and takes its process with it: that file is then refused, all others go on.
"""

import hashlib
import multiprocessing
import os
import stat
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxr.errors import DicomError, DuplicateError
from cxr.images import dicom, doctor
from cxr.images.dicom import Instance
from cxr.images.doctor import Verdict
from cxr.ingest_rules import Severity
from cxr.pacs import ledger, transfer
from cxr.pacs.folder import FolderPacs
from cxr.pacs.ledger import PENDING, REFUSED, Row
from cxr.pacs.sources import File
from cxr.pacs.staging import Staged
from cxr.pacs.withdrawn import Withdrawn

FEW = 24
"""So few files are checked faster here than in processes that first have to start."""
_CRASHED = "decoding it crashed the decoder"


@dataclass(frozen=True)
class Settings:
    """What a checking process has to know.

    Attributes:
        severities: Of every rule.
        key: For the keyed hashes of the ledger.
        spool: Where files made here wait.
        folder: Where they wait instead if the destination is a folder.
        pseudonyms: Secret that de-identifies; None stores files as they are.
        withdrawn: Whose files do not come in.
    """

    severities: Mapping[str, Severity]
    key: bytes = field(repr=False)
    spool: Path
    folder: FolderPacs | None = None
    pseudonyms: bytes | None = field(default=None, repr=False)
    withdrawn: Withdrawn | None = field(default=None, repr=False)

    @property
    def version(self) -> str:
        """What the outcome depends on besides the file."""
        what = [doctor.VERSION, sorted(self.severities.items()), self.pseudonyms is not None]
        return hashlib.sha256(repr(what).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Checked:
    """What became of one file so far.

    Attributes:
        row: For the ledger; pending, or refused.
        instance: Who is stored, unless it is refused.
        staged: It lies in the folder PACS, not yet an instance.
        at: What to send; of `made` bytes here, or the file itself.
        made: Whether `at` is to be deleted once it is sent.
    """

    row: Row
    instance: Instance | None = None
    staged: Staged | None = None
    at: Path | None = None
    made: bool = False

    def drop(self) -> None:
        """Delete what was made of the file."""
        if self.staged and self.staged.part:
            self.staged.part.unlink(missing_ok=True)
        if self.made and self.at:
            self.at.unlink(missing_ok=True)


def refused(row: Row, *verdicts: Verdict) -> Row:
    """Note that a file does not come in, and why."""
    return replace(row, outcome=REFUSED, verdicts=(*row.verdicts, *verdicts))


def unreadable(met: str) -> Verdict:
    """Make the verdict on a file of which nothing can be said."""
    return doctor.verdict("unreadable", met)[0]


def check_all(
    files: Iterable[File], settings: Settings, *, workers: int
) -> Iterator[tuple[File, Checked]]:
    """Check files in several processes; the answers come in the order of the files.

    Args:
        files: Asked for as there is room.
        settings: The same for all.
        workers: 1 checks them in this process.
    """
    if workers <= 1:
        for file in files:
            yield file, _check(file, settings)
        return
    left = iter(files)
    while True:
        under_way: deque[tuple[File, Future[Checked]]] = deque()
        try:
            with _pool(workers, settings) as pool:
                yield from _in_order(pool, left, under_way, 4 * workers)
                return
        except BrokenProcessPool:
            yield from _salvaged(under_way, settings)


def _in_order(
    pool: ProcessPoolExecutor,
    left: Iterator[File],
    under_way: deque[tuple[File, Future[Checked]]],
    ahead: int,
) -> Iterator[tuple[File, Checked]]:
    more = True
    while more or under_way:
        while more and len(under_way) < ahead:
            file = next(left, None)
            if file is None:
                more = False
                break
            try:
                under_way.append((file, pool.submit(_check_in_pool, file)))
            except BrokenProcessPool:  # or the file would be lost between here and there
                broken: Future[Checked] = Future()
                broken.set_exception(BrokenProcessPool())
                under_way.append((file, broken))
                raise
        if under_way:
            yield under_way[0][0], under_way[0][1].result()
            under_way.popleft()


def _salvaged(
    under_way: deque[tuple[File, Future[Checked]]], settings: Settings
) -> Iterator[tuple[File, Checked]]:
    """Go on after a worker died: whichever file kills a process of its own is the culprit."""
    while under_way:
        with _pool(1, settings) as pool:
            while under_way:
                file, future = under_way.popleft()
                if future.done() and not future.cancelled() and future.exception() is None:
                    yield file, future.result()
                    continue
                try:
                    yield file, pool.submit(_check_in_pool, file).result()
                except BrokenProcessPool:
                    yield file, Checked(refused(_row(file), unreadable(_CRASHED)))
                    break


def _pool(workers: int, settings: Settings) -> ProcessPoolExecutor:
    # a forked child would inherit threads' locks and, on some systems, cannot use frameworks
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(settings,))


_settings_here: list[Settings] = []


def _begin(settings: Settings) -> None:
    _settings_here[:] = [settings]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the ingest is killed: the pool's own processes would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _check_in_pool(file: File) -> Checked:
    return _check(file, _settings_here[0])


def _check(file: File, settings: Settings) -> Checked:
    row = _row(file)
    try:
        if file.reason:
            raise OSError(0, file.reason)
        mode = file.at.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(file.at).close()  # says why it could not be listed
        if not stat.S_ISREG(mode):  # reading a pipe would never end
            return Checked(refused(row, unreadable("not a regular file")))
        if file.at.stat().st_size > dicom.MAX_BYTES:
            return Checked(refused(row, *doctor.examine(file.at, settings.severities).verdicts))
        data = file.at.read_bytes()
    except OSError as error:
        # without a stamp, for next time it may be otherwise, though the file is the same
        met = unreadable(f"cannot be read: {error.strerror}")
        return Checked(refused(replace(row, stamp=""), met))
    row = replace(row, sha256=hashlib.sha256(data).hexdigest())
    if file.header is not None:
        from cxr.images import pictures

        try:
            data = pictures.to_dicom(data, file.header)
        except DicomError as error:
            return Checked(refused(row, unreadable(str(error))))
    found = doctor.examine(data, settings.severities)
    row = replace(row, verdicts=found.verdicts)
    if found.instance is not None:
        if settings.withdrawn and (why := settings.withdrawn.reason(found.instance.patient_id)):
            # without a stamp, for who withdrew may come back; and with nothing out of the file
            return Checked(refused(Row("", REFUSED), *doctor.verdict("withdrawn", why)))
        row = _named(row, found.instance, settings.key)
    if found.problems or found.instance is None:
        return Checked(refused(row))
    row = replace(row, pixel_hash=found.pixel_hash)
    return _ready(file, data, row, found.instance, settings)


def _ready(file: File, data: bytes, row: Row, instance: Instance, settings: Settings) -> Checked:
    """Put what is to be stored where it can be stored from."""
    made = file.header is not None or settings.pseudonyms is not None
    at = settings.spool / f"{uuid.uuid4().hex}.dcm" if made else file.at
    try:
        if settings.pseudonyms is not None:
            from cxr.images import deidentify

            data = deidentify.deidentify(data, settings.pseudonyms)
            instance = dicom.identify(data)
            row = _renamed(row, instance)
        else:
            row = replace(row, study_id=dicom.text(dicom.read_header(data), "StudyID"))
        row = replace(row, size=str(len(data)))
        if settings.folder is not None:
            staged = settings.folder.stage(data, pixel_hash=row.pixel_hash)
            return Checked(row, instance, staged=staged)
    except DuplicateError as error:
        return Checked(refused(row, *doctor.verdict("duplicate_instance", str(error))))
    except DicomError as error:
        return Checked(refused(row, unreadable(str(error))))
    if made:
        transfer.write(at, data)
    return Checked(row, instance, at=at, made=made)


def _row(file: File) -> Row:
    return Row(stamp=file.listed.stamp, outcome=PENDING)


def _named(row: Row, instance: Instance, key: bytes) -> Row:
    return replace(
        _renamed(row, instance),
        instance_key=ledger.keyed(instance.sop_instance_uid, key),
        patient_key=ledger.keyed(instance.patient_id, key),
        study_key=ledger.keyed(instance.study_instance_uid, key),
    )


def _renamed(row: Row, instance: Instance) -> Row:
    return replace(
        row,
        orthanc_id=instance.orthanc_id,
        study_instance_uid=instance.study_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
    )
