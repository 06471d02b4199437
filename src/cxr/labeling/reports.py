"""Labels mined from report texts, as a labeling job: the same output manifest, nobody reading.

Which phrase at which characters of the text gave each state stands in `<job>/mined.csv`; the text
itself never leaves the store of reports.
"""

import csv
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr import places, progress
from cxr.contract import manifest
from cxr.contract.signing import Keys
from cxr.errors import JobError
from cxr.labeling import Job, Status, compared, mining, output, phrases, stated
from cxr.labeling.mining import Evidence, Miner
from cxr.pacs import Pacs
from cxr.pacs.reports import Reports

_log = logging.getLogger(__name__)
_HEADER = [
    "study_instance_uid", "label", "state", "rule", "phrase", "cue", "section", "start", "end",
]  # fmt: skip
MINED = "mined.csv"


class ReportLabeling:
    """A LabelingBackend that answers from the report of each image's study.

    Args:
        pacs: Knows the study of an image whose line does not say it.
        store: The file of report texts.
        sections: In the order in which they are asked.
        phrases: A YAML of phrases; None takes the shipped English ones.
        compare: The folder of a job that readers answered; None compares with nobody.
        keys: Nothing is signed.
    """

    def __init__(
        self,
        *,
        pacs: Pacs,
        store: Path,
        sections: Sequence[str],
        phrases: str | None = None,
        compare: Path | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._pacs, self._path, self._compare = pacs, store, compare
        self._phrases = _chosen(phrases)
        self._sections = tuple(sections)
        self.comparison: list[str] = []
        """The lines of a table, once collected, where a job is compared with."""

    def start(self, job: Job, manifest: Path) -> None:
        """Keep those lines of the input manifest whose study has a report.

        Raises:
            ConfigError: The phrases cannot be used, or do not fit the label set.
            JobError: No image has a report, or the job to compare with has no output.
        """
        stated.check_unread(job)
        self._miner(job)
        if self._compare:
            compared.check(self._compare)
        self._keep_reported(job, manifest)

    def status(self, job: Job) -> Status:
        """Say that all is done: nobody has to be waited for."""
        return stated.done(job)

    def collect(self, job: Job) -> Path:
        """Write the output manifest and the audit; compare with readers where that is asked."""
        miner, audit = self._miner(job), job.folder / MINED
        part = audit.with_name(f"{audit.name}.part")
        with Reports(self._path) as store, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_HEADER)
            lines = self._lines(job, store, miner, writer.writerows)
            path = output.write(
                job, lines, human_annotated=False, label_source="report-text-mined"
            )  # fmt: skip
        part.replace(audit)
        self._told(job)
        return path

    def close(self) -> None:
        """Do nothing; nothing runs."""

    def _miner(self, job: Job) -> Miner:
        return mining.Miner(phrases.read(self._phrases), job.labels, self._sections)

    def _keep_reported(self, job: Job, path: Path) -> None:
        every, lacking = 0, 0
        kept: list[dict[str, Any]] = []
        with Reports(self._path) as store:
            have = set(store.studies())
        if not have:
            raise JobError(
                "no report is linked to a study; python -m cxr.ingest reports=PATH first"
            )
        for line in manifest.read(path):
            every += 1
            uid = self._study(line)
            if uid in have:
                kept.append({**line, "study-instance-uid": uid})
            else:
                lacking += 1
        if not kept:
            raise JobError(
                f"expected images whose study has a report, met {every} images of others; see "
                "ingest/reports_unlinked.csv, or choose others with job.query"
            )
        manifest.write(job.input_manifest, kept)
        if lacking:
            _log.warning("%d of %d images are of studies without a report", lacking, every)

    def _study(self, line: Mapping[str, Any]) -> str:
        uid = line.get("study-instance-uid")
        return str(uid or self._pacs.find(manifest.source(line)).study_instance_uid)

    def _lines(
        self,
        job: Job,
        store: Reports,
        miner: Miner,
        audit: Callable[[Iterable[Sequence[object]]], object],
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
        total = sum(1 for _ in manifest.read(job.input_manifest))
        audited: set[str] = set()
        last, found = "", dict[str, Evidence]()
        with progress.bar("mined", total) as advance:
            for done, line in enumerate(manifest.read(job.input_manifest), 1):
                uid = str(line["study-instance-uid"])
                if uid != last:  # images of a study follow each other, nearly always
                    report = store.get(uid)
                    last, found = uid, miner.read(report.text) if report else {}
                if uid not in audited:
                    audited.add(uid)
                    audit(_audited(uid, found))
                advance(done)
                yield line, _attribute(found, job) if found else None

    def _told(self, job: Job) -> None:
        """Compare with readers, or say how one could."""
        if self._compare:
            self.comparison = compared.write(job, self._compare)
            return
        read = compared.readable(job.folder.parent)
        if read:
            _log.info("job.compare=%s would say how far its readers agree with the texts", read[0])


def check(given: str | None, wanted: Sequence[str]) -> None:
    """Refuse phrases or sections that cannot be used, before a job's folder is made.

    Raises:
        ConfigError: It names the file or the section, and the key.
    """
    mining.check_sections(phrases.read(_chosen(given)), wanted)


def _chosen(given: str | None) -> Path:
    return Path(given) if given else shipped()


def shipped() -> Path:
    """Give the file of English phrases that comes with the code."""
    return places.shipped("templates") / "phrases" / "english.yaml"


def _attribute(found: Mapping[str, Evidence], job: Job) -> dict[str, Any]:
    states = {name: evidence.state for name, evidence in found.items()}
    reasons = {name: evidence.rule for name, evidence in found.items()}
    return stated.attribute(states, job.labels, level="study", reasons=reasons)


def _audited(uid: str, found: Mapping[str, Evidence]) -> Iterator[Sequence[object]]:
    """Give which phrase said what, and where in the text; not the text."""
    for name, e in found.items():
        if e.rule:
            yield uid, name, e.state, e.rule, e.phrase, e.cue, e.section, e.start, e.end
