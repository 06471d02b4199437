"""From a source full of files to a PACS: the good ones stored, everything odd in a report.

Every file is accounted for, those that are no DICOM too. What became of each is in the ledger, so
that a second run, or one after a kill -9, only looks at what is new, changed or lost.
"""

import heapq
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Self

from cxr import ingest_rules, progress
from cxr.errors import DuplicateError, PacsError
from cxr.images import doctor
from cxr.images.doctor import Verdict
from cxr.ingest_rules import DEFAULTS, Severity
from cxr.pacs import Pacs, checking, crosscheck, ledger, ledgers, report, sending, withdrawn
from cxr.pacs.checking import Checked, Settings
from cxr.pacs.folder import FolderPacs
from cxr.pacs.ledger import IN, REFUSED, Held, Ledger, Row
from cxr.pacs.sending import Outcome
from cxr.pacs.sources import File, Source

_CHECK = "check"
"""What the ledger of a run calls its destination that stores nothing."""

_BATCH = 50


@dataclass
class Report:
    """What an ingest found; counts of files.

    Attributes:
        stored: Came in now; where nothing is stored, would have.
        present: Were in already, by an earlier run or under another name.
        refused: Have an error.
        warned: Stored or present, and there is something to say of them.
    """

    stored: int = 0
    present: int = 0
    refused: int = 0
    warned: int = 0

    @property
    def files(self) -> int:
        """All of them."""
        return self.stored + self.present + self.refused


class Ingest:
    """One ingest into one PACS; a context manager that lets the next one in.

    Args:
        folder: The data root, for ledger and spool.
        pacs: Where to; None only looks.
        severities: Of every rule.
        pseudonyms: Secret by which files are de-identified; None stores them as they are.
        workers: Processes that check files; 1 checks them in this one.
        batch: Files in one request to a server.
        threads: Requests at once.

    Raises:
        PacsError: Another ingest into this PACS is at work, or the root cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        pacs: Pacs | None,
        *,
        severities: Mapping[str, Severity] = DEFAULTS,
        pseudonyms: bytes | None = None,
        workers: int = 1,
        batch: int = 20,
        threads: int = 4,
    ) -> None:
        self._pacs, self._severities = pacs, severities
        self._workers, self._batch, self._threads = workers, batch, threads
        # beside images without names no table may say whose they are; the ledger does
        named = pseudonyms is None
        self._index = pacs.index if named and isinstance(pacs, FolderPacs) else None
        self._root, self._noted = "", 0
        self._came: list[tuple[str, str, str, str]] = []
        path = ledger.path_of(folder, _CHECK if pacs is None else ledger.name_of(folder, pacs))
        self._ledger = Ledger(path)
        self._settings = Settings(
            dict(severities), ledgers.key(folder), path.with_suffix(".spool"),
            pacs if isinstance(pacs, FolderPacs) else None, pseudonyms, withdrawn.of(folder),
        )  # fmt: skip
        self.report = Report()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._settings.spool, ignore_errors=True)
        self._ledger.close()

    def run(self, source: Source) -> Report:
        """Check every file of a source and store the good ones.

        Of several files with one SOPInstanceUID the first by path comes in; equal ones are
        counted as present, others refused.

        Raises:
            PacsError: There is nothing, or a PACS or disk fails; another run goes on from here.
        """
        self._root, spool = source.name, self._settings.spool
        shutil.rmtree(spool, ignore_errors=True)  # what a killed run left
        spool.mkdir(mode=0o700, parents=True)
        if not self._ledger.begin(source.name, source.files(), self._settings.version):
            raise PacsError(source.nothing)
        if self._pacs is not None:
            self._ledger.recheck(source.name, self._lost)
            self._mend_index()
        before, new = self._ledger.count_known(source.name), self._ledger.count_new()
        self.report = Report(present=before.get(IN, 0), refused=before.get(REFUSED, 0))
        workers = self._workers if new >= checking.FEW else 1
        files = source.fetch(self._ledger.new(), spool)
        try:
            with progress.bar("checked", new) as advance:
                checked = checking.check_all(files, self._settings, workers=workers)
                for file, item, outcome in self._sent(checked):
                    self._settle(file, item, outcome)
                    advance(self._noted)
        finally:
            self._keep()
        return self.report

    def rows(self) -> Iterator[report.Row]:
        """Stream everything there is to say about the files of the last run, by path.

        The count of files with warnings is complete when the stream is.
        """
        found = heapq.merge(
            self._ledger.verdicts(self._root),
            crosscheck.warnings(self._ledger, self._root, self._severities),
            key=itemgetter(0),
        )
        self.report.warned = 0
        for path, group in groupby(found, key=itemgetter(0)):
            verdicts = [verdict for _, some in group for verdict in some]
            self.report.warned += not any(v.severity == ingest_rules.ERROR for v in verdicts)
            yield from report.rows(path, verdicts)

    def held(self) -> Iterator[list[Held]]:
        """Stream the files of the last run that are in the destination; some at a time, by path."""
        return self._ledger.held(self._root)

    def _lost(self, rows: Sequence[Held]) -> list[str]:
        if self._pacs is None:
            return []
        held = sending.held(self._pacs, rows)
        return [row.path for row in rows if row.orthanc_id not in held]

    def _mend_index(self) -> None:
        """Tell a folder whose index was lost where its images came from."""
        index = self._index
        if index is None:
            return
        if index.count_known(self._root) < sum(len(rows) for rows in self._ledger.held(self._root)):
            for rows in self._ledger.held(self._root):
                index.remember(self._root, [(row.path, "", row.orthanc_id, "") for row in rows])

    def _sent(self, checked: Iterator[tuple[File, Checked]]) -> Iterator[sending.Sent]:
        good = self._good(checked)
        if self._pacs is None:
            return ((file, item, Outcome(is_new=True)) for file, item in good)
        if isinstance(self._pacs, FolderPacs):
            return sending.admit_all(self._pacs, good)
        return sending.send_all(self._pacs, good, batch=self._batch, threads=self._threads)

    def _good(self, checked: Iterable[tuple[File, Checked]]) -> Iterator[tuple[File, Checked]]:
        """Let those through that are to be stored, and settle the others here."""
        for file, item in checked:
            path, row = file.listed.path, item.row
            if row.outcome == REFUSED:
                self._refuse(file, item, self._naming(path, row))
                continue
            twin = crosscheck.twin(self._ledger, self._root, path, row)
            if twin is not None and twin.is_same:
                self._note(file, item, replace(row, outcome=IN))
                self.report.present += 1
                continue
            objections = (
                crosscheck.duplicate(twin.path)
                if twin is not None
                else crosscheck.objections(self._ledger, self._root, row, self._severities)
            )
            if objections:
                self._refuse(file, item, checking.refused(row, *objections))
                continue
            self._ledger.note(self._root, path, row)  # pending: the next file may be its twin
            yield file, item

    def _naming(self, path: str, row: Row) -> Row:
        """Let a duplicate's verdict name the file that came before it."""
        named: tuple[Verdict, ...] = ()
        for verdict in row.verdicts:
            if verdict.rule == "duplicate_instance":
                other = crosscheck.namesake(self._ledger, self._root, path, row)
                named += crosscheck.duplicate(other)
            else:
                named += (verdict,)
        return replace(row, verdicts=named)

    def _settle(self, file: File, item: Checked, outcome: Outcome) -> None:
        if outcome.error is None:
            self._note(file, item, replace(item.row, outcome=IN))
            self.report.stored += outcome.is_new
            self.report.present += not outcome.is_new
            return
        row = item.row
        if isinstance(outcome.error, DuplicateError):
            other = crosscheck.namesake(self._ledger, self._root, file.listed.path, row)
            self._refuse(file, item, checking.refused(row, *crosscheck.duplicate(other)))
            return
        verdicts = doctor.verdict("not_stored", str(outcome.error))
        row = checking.refused(replace(row, stamp=""), *verdicts)  # asked again the next time
        self._refuse(file, item, row)

    def _refuse(self, file: File, item: Checked, row: Row) -> None:
        self._note(file, item, row)
        self.report.refused += 1

    def _note(self, file: File, item: Checked, row: Row) -> None:
        self._ledger.note(self._root, file.listed.path, row)
        item.drop()
        if file.passing:
            file.at.unlink(missing_ok=True)
        if all(verdict.rule != "withdrawn" for verdict in row.verdicts):
            self._came.append((file.listed.path, "", row.orthanc_id * (row.outcome == IN), ""))
        self._noted += 1
        if self._noted % _BATCH == 0:
            self._keep()

    def _keep(self) -> None:
        """Keep what was noted; a folder also says itself where its images came from."""
        if self._index is not None:
            self._index.remember(self._root, self._came)
        self._came = []
        self._ledger.commit()
