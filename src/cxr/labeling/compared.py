"""How far labels mined from texts agree with readers who saw the images.

Neither is the truth: a text says what a radiologist chose to mention, often of earlier images too.
Readers are taken as the measure for precision and recall. An uncertain on either side finds
nothing and clears nothing; how many there were stands beside. What a text does not mention counts
as not found for `recall`, and is left out of `recall_mentioned` and of kappa.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxr import NOTE
from cxr.contract import consolidate, manifest
from cxr.contract.labels import LabelSet, State
from cxr.errors import JobError, LabelError
from cxr.labeling import Job, agreement, quality, selection
from cxr.labeling.agreement import Interval
from cxr.labeling.quality import Share
from cxr.labeling.votes import ORDER

SCHEMA = "cxr-compared/1"
_READERS, _REPORT = "readers", "report"
_INTERVALS = (
    "95 %: percentiles of 1000 bootstrap samples of images; of precision and recall Wilson's"
)
_OUTPUT = Path("manifests") / "output" / "output.manifest"
States = Mapping[str, State]


@dataclass(frozen=True)
class Row:
    """One finding.

    Attributes:
        label: The finding.
        images: That both are about, and readers answered.
        compared: Of these, the text mentions the finding.
        uncertain_readers: Of these images, readers were uncertain.
        uncertain_report: Of these images, the text hedges.
        not_mentioned: Of these images, the text says nothing.
        positive: Agreement on present, on the compared.
        negative: The same on absent.
        kappa: Cohen's over present, uncertain, absent, on the compared.
        precision: Of what the text calls present, and readers are sure of: they too.
        recall: Of what readers call present: the text too; silence is a miss.
        recall_mentioned: The same, where the text mentions the finding.
    """

    label: str
    images: int
    compared: int
    uncertain_readers: int
    uncertain_report: int
    not_mentioned: int
    positive: float | None
    positive_ci: Interval | None
    negative: float | None
    negative_ci: Interval | None
    kappa: float | None
    kappa_ci: Interval | None
    precision: Share
    recall: Share
    recall_mentioned: Share


def check(folder: Path) -> None:
    """Refuse a job that has no output yet.

    Raises:
        JobError: It has none.
    """
    if not (folder / _OUTPUT).is_file():
        raise JobError(
            f"job.compare: expected a job with an output manifest, met {folder.name!r}; "
            f"python -m cxr.label job.name={folder.name} writes one"
        )


def readable(jobs: Path) -> list[str]:
    """Name the jobs of a data root that readers have answered."""
    return sorted(
        path.parent.name for path in jobs.glob(f"*/{selection.ANSWERS}")
        if (path.parent / _OUTPUT).is_file()
    )  # fmt: skip


def write(job: Job, readers: Path) -> list[str]:
    """Write `compared.csv` and `compared.json` into the mined job's folder.

    Args:
        job: Whose output manifest was mined from texts.
        readers: Folder of the job that readers answered.

    Returns:
        The lines of a table to print.

    Raises:
        JobError: They have no image in common.
    """
    pairs = _pairs(job, readers)
    if not pairs:
        raise JobError(
            f"job.compare: expected images that {job.name!r} has too, met none in {readers.name!r}"
        )
    rows = compare(pairs, job.labels.findings)
    document = {
        "schema": SCHEMA,
        "note": NOTE,
        "readers": readers.name,
        "images": len(pairs),
        "intervals": _INTERVALS,
        "labels": {
            row.label: {k: v for k, v in asdict(row).items() if k != "label"} for row in rows
        },
    }
    path = job.folder / "compared.json"
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    with (job.folder / "compared.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(_flat(rows[0])))
        writer.writeheader()
        writer.writerows(_flat(row) for row in rows)
    return [*_table(rows), f"compared with {readers.name} on {len(pairs)} images: {path}"]


def compare(pairs: Mapping[str, tuple[States, States]], names: Sequence[str]) -> list[Row]:
    """Compare readers' states with a text's.

    Args:
        pairs: Source → (readers' states, the text's states).
        names: Findings, in the order of the result.
    """
    told = {source: {_READERS: a, _REPORT: b} for source, (a, b) in pairs.items()}
    both = agreement.agreement(told, names)
    every = list(pairs.values())
    mentioned = _found(every, names)
    swapped = _found([(b, a) for a, b in every], names)
    silent = [(a, {n: _or_absent(s) for n, s in b.items()}) for a, b in every]
    recalled = _found(silent, names)
    rows = []
    for k, name in enumerate(names):
        said = [(a.get(name), b.get(name)) for a, b in every if a.get(name) in ORDER]
        counts = Counter(text for _, text in said)
        one, pair = both[k], both[k].pairs[0] if both[k].pairs else None
        rows.append(
            Row(
                name, len(said), one.objects, sum(a is State.UNCERTAIN for a, _ in said),
                counts[State.UNCERTAIN], counts[State.NOT_MENTIONED],
                one.positive, one.positive_ci, one.negative, one.negative_ci,
                pair.kappa if pair else None, pair.kappa_ci if pair else None,
                swapped[name], recalled[name], mentioned[name],
            )
        )  # fmt: skip
    return rows


def _found(pairs: Sequence[tuple[States, States]], names: Sequence[str]) -> dict[str, Share]:
    """Give, of what the first calls present, the share the second does, where it is sure."""
    found = {}
    for name in names:
        sure = [b.get(name) for a, b in pairs if a.get(name) is State.PRESENT]
        sure = [state for state in sure if state in (State.PRESENT, State.ABSENT)]
        hits, of = sum(state is State.PRESENT for state in sure), len(sure)
        few = of < quality.FEWEST
        found[name] = Share(
            hits, of, None if few else hits / of, None if few else quality.wilson(hits, of)
        )
    return found


def _or_absent(state: State) -> State:
    return State.ABSENT if state is State.NOT_MENTIONED else state


def _pairs(job: Job, readers: Path) -> dict[str, tuple[States, States]]:
    """Pair each image readers answered with the text of its study."""
    mined: dict[str, States] = {}
    for line in manifest.read(job.output_manifest):
        found = manifest.labelled(line, job.name)
        if found is not None:
            mined[manifest.source(line)] = found.states
            mined[str(line["study-instance-uid"])] = found.states
    pairs = {}
    for answered, states in _answered(readers, job.labels):
        source = manifest.source(answered)
        said = mined.get(source) or mined.get(str(answered.get("study-instance-uid", "")))
        if said is not None:
            pairs[source] = (states, said)
    return pairs


def _answered(folder: Path, label_set: LabelSet) -> Iterator[tuple[Mapping[str, Any], States]]:
    for raw in manifest.read(folder / _OUTPUT):
        line = consolidate.completed(raw)
        own = folder.name if folder.name in manifest.attributes(line) else None
        found = manifest.labelled(line, own)
        if found is None or not found.usable:
            continue
        if found.label_source == "report-text-mined":
            raise JobError(f"job.compare: expected labels of readers, met {folder.name!r} of texts")
        states: dict[str, State] = {}
        for name, state in found.states.items():
            try:
                states[label_set.canonical(name)] = state
            except LabelError:
                continue  # asked there, and not here
        yield line, states


def _flat(row: Row) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in asdict(row).items():
        if isinstance(value, dict):
            flat |= {f"{key}_hits": value["hits"], f"{key}_of": value["of"], key: value["value"]}
            flat |= _ends(key, value["ci"])
        elif key.endswith("_ci"):
            flat |= _ends(key.removesuffix("_ci"), value)
        else:
            flat[key] = value
    return {key: "" if value is None else value for key, value in flat.items()}


def _ends(key: str, ci: Interval | None) -> dict[str, object]:
    low, high = ci or (None, None)
    return {f"{key}_low": low, f"{key}_high": high}


def _table(rows: Sequence[Row]) -> list[str]:
    width = max(len(row.label) for row in rows)
    head = f"{'':{width}}  images  compared  kappa [95 %]         pos.  neg.  precision  recall"
    return [head] + [
        f"{r.label:{width}}  {r.images:6}  {r.compared:8}  {_figure(r.kappa):>5} "
        f"{_interval(r.kappa_ci):14}  {_figure(r.positive):>4}  {_figure(r.negative):>4}  "
        f"{_figure(r.precision.value):>9}  {_figure(r.recall.value):>6}"
        for r in rows
        if r.images
    ]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(ci: Interval | None) -> str:
    return "" if ci is None else f"[{ci[0]:.2f}, {ci[1]:.2f}]"
