"""From an input manifest to an output manifest, by whoever labels.

A backend is chosen by `labeling=`: readers at the local portal, SageMaker Ground Truth, or labels
that exist already. All write the same files into the job's folder.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cxr import NOTE
from cxr.contract.labels import LabelSet

READER, ADJUDICATOR, LEAD = "reader", "adjudicator", "lead"
"""Roles: who answers, who decides where answers differ, who sees how the job goes."""


@dataclass(frozen=True)
class Reader:
    """One of the team.

    Attributes:
        id: Worker ID in every manifest.
        skill: For a scripted reader, how well it reads: `sensitivity`, `specificity`,
            `uncertain` (shares) and `seed`; None is a person.
        name: As colleagues know her; empty where the ID says it.
        email: Where invitations go, or empty.
        roles: Of reader, adjudicator, lead; only who has the first is given images to answer.
    """

    id: str
    skill: Mapping[str, float] | None = None
    name: str = ""
    email: str = ""
    roles: tuple[str, ...] = (READER,)


@dataclass(frozen=True)
class Page:
    """What the worker page of a job offers.

    Attributes:
        instructions: Plain text for the readers.
        examples: (file, caption) of PNG or JPEG pictures shown with the instructions.
        tools: Names of those that show; None shows all.
        ask_roi: Findings that ask for a region when present.
        windows: More window presets: name → (centre, width) in values after the modality LUT.
        keys: Command → key, where the page's own does not suit.
        mouse: Button (left, middle, right) → tool; `tool` is the one chosen.
        comments: Whether there are free-text fields; free text can name a patient.
    """

    instructions: str = ""
    examples: tuple[tuple[Path, str], ...] = ()
    tools: tuple[str, ...] | None = None
    ask_roi: tuple[str, ...] = ()
    windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    mouse: Mapping[str, str] = field(default_factory=dict)
    comments: bool = True


@dataclass(frozen=True)
class Checks:
    """How a job watches its readers' work.

    Attributes:
        known: An output manifest whose labels are taken for true (honeypots), or None.
        known_share: Of a reader's tasks that are such images.
        repeat_share: Of a reader's tasks that are images she has answered before.
    """

    known: Path | None = None
    known_share: float = 0.0
    repeat_share: float = 0.0


@dataclass(frozen=True)
class Existing:
    """Labels that exist already, to be replayed.

    Attributes:
        path: A CSV file.
        key: What one row is about: `sop_instance_uid`, `study` or `path`.
        key_column: Where the key stands; None finds it by its usual names.
        column: Where names joined by `|` stand; None finds it, or takes one column per label.
        unlisted: `absent` or `not_mentioned`, for a label that such a list does not name.
        label_source: `report-text-mined`, `readers` or `model`.
        boxes: A CSV of regions that come with them, or None.
    """

    path: Path
    key: str
    key_column: str | None
    column: str | None
    unlisted: str
    label_source: str
    boxes: Path | None = None


@dataclass(frozen=True)
class Job:
    """One labeling job.

    Attributes:
        name: Also the label attribute name.
        folder: `<root>/jobs/<name>`.
        labels: What is asked.
        readers: The team.
        workers_per_object: How many of the readers answer each image.
        consolidation: `majority`, `dawid_skene`, `any_present` or `adjudicated`.
        task_time_limit_s: After which a task goes back at which nobody is at work, in seconds.
        closes: `done`: when every image has its answers; `lead`: when the lead says so.
        page: What the worker page offers.
        checks: Honeypots and hidden repeats.
        shown: What readers are told beside the image: of age, sex, indication.
        unit: What a task is about, `image` or `study`.
        truth: Findings of synthetic images, which scripted readers look up.
        existing: Labels to replay.
    """

    name: str
    folder: Path
    labels: LabelSet
    readers: tuple[Reader, ...] = (Reader("reader"),)
    workers_per_object: int = 1
    consolidation: str = "majority"
    task_time_limit_s: int = 3600
    closes: str = "done"
    page: Page = field(default_factory=Page)
    checks: Checks = field(default_factory=Checks)
    shown: tuple[str, ...] = ()
    unit: str = "image"
    truth: Path | None = None
    existing: Existing | None = None

    @property
    def answering(self) -> tuple[Reader, ...]:
        """The readers that are given images."""
        return self.having(READER)

    def having(self, role: str) -> tuple[Reader, ...]:
        """Those of the team who have a role."""
        return tuple(reader for reader in self.readers if role in reader.roles)

    @property
    def input_manifest(self) -> Path:
        """Where the job's data objects are listed."""
        return self.folder / "input.manifest"

    @property
    def output_manifest(self) -> Path:
        """Where the labelled data objects are listed, as Ground Truth lays it out."""
        return self.folder / "manifests" / "output" / "output.manifest"

    def save(self) -> None:
        """Write `job.json`, so that the folder explains itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"note": NOTE, **_plain(asdict(self))}, indent=2, ensure_ascii=False)
        (self.folder / "job.json").write_text(text + "\n")


@dataclass(frozen=True)
class Status:
    """How far a job is.

    Attributes:
        state: `InProgress`, `Completed`, `Stopped` or `Failed`, as DescribeLabelingJob has it.
        labelled: Data objects with all their answers.
        total: Data objects.
        failed: Data objects that nobody could answer.
        url: Where readers answer, or empty.
    """

    state: str
    labelled: int
    total: int
    failed: int = 0
    url: str = ""


class LabelingBackend(Protocol):
    """Whoever turns an input manifest into an output manifest."""

    def start(self, job: Job, manifest: Path) -> None:
        """Offer the manifest's data objects to the job's readers; again is harmless."""

    def status(self, job: Job) -> Status:
        """Count what is done."""

    def collect(self, job: Job) -> Path:
        """Consolidate what was answered and give the output manifest, on this machine."""

    def close(self) -> None:
        """Stop whatever `start` started; answers stay."""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
