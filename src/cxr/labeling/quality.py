"""How well and how fast each worker reads: known answers, hidden repeats, pace.

Pure functions over what the job's store and the answers hold. Support for a conversation with a
reader, never a ranking: counts are small, which is why every share has its interval.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import NOTE
from cxr.contract import consolidate, manifest
from cxr.contract.labels import LabelSet, State
from cxr.errors import LabelError
from cxr.labeling import agreement
from cxr.labeling.agreement import Interval
from cxr.labeling.results import Answer
from cxr.labeling.votes import ORDER

SCHEMA = "cxr-quality/1"
FEWEST = 5
"""Known answers, or repeats, from which on a single finding gets a figure of its own."""
_Z = 1.959963984540054
_INTERVALS = (
    "95 %: Wilson for a single finding's shares; percentiles of a bootstrap over images for shares "
    "of all findings together (Wilson over images where there are fewer than 5, or all are alike) "
    "and for kappa"
)
States = Mapping[str, State]
Twice = tuple[States, States]
"""Known and answered states of one image; or those first and later answered."""


@dataclass(frozen=True)
class Share:
    """A share with its interval.

    Attributes:
        hits: How many.
        of: Out of how many.
        value: hits / of; None where there are too few.
        ci: 95 %; None with the value. Of one finding Wilson's. Of all together of a bootstrap over
            images, since an image that is hard is so for several findings.
    """

    hits: int
    of: int
    value: float | None
    ci: Interval | None


@dataclass(frozen=True)
class Known:
    """One worker's answers against known ones; all findings together, or one.

    An uncertain is neither: it finds nothing and clears nothing.

    Attributes:
        sensitivity: Of what is known to be present, how much was answered present.
        specificity: Of what is known to be absent, how much was answered absent.
        uncertain: Answers that were uncertain.
    """

    sensitivity: Share
    specificity: Share
    uncertain: int


@dataclass(frozen=True)
class Repeated:
    """One worker's answers against her own on the same images; all findings together, or one.

    Attributes:
        images: Read twice.
        answers: Compared, one per image and finding.
        equal: Share of them that are the same; None where there are too few.
        kappa: Cohen's, unweighted; None where there is none, or there are too few.
        kappa_ci: 95 % of a bootstrap over images.
    """

    images: int
    answers: int
    equal: float | None
    kappa: float | None
    kappa_ci: Interval | None


@dataclass(frozen=True)
class Pace:
    """How fast one worker reads.

    Attributes:
        answered: Images answered or skipped.
        median_active_s: Seconds at work on one image, breaks left out, as the page counted them.
        images_per_active_hour: Of such time.
    """

    answered: int
    median_active_s: float | None
    images_per_active_hour: float | None


def wilson(hits: float, of: float) -> Interval:
    """Give the 95 % interval of a share (Wilson, 1927), which holds for few and for extremes.

    >>> low, high = wilson(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    if not of:
        return 0.0, 1.0
    share, z2 = hits / of, _Z**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    # rounding must not put a share of 0 or 1 outside its interval
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def known_pairs(
    told: Iterable[tuple[str, Mapping[str, Any], Answer]], label_set: LabelSet
) -> dict[str, list[Twice]]:
    """Pair known with answered states; skips, and images without a label, are left out.

    Args:
        told: Worker, the known image's line of an output manifest, and her answer.
        label_set: What was asked; the known line may know its labels by other names.

    Returns:
        Worker → pairs.
    """
    pairs: dict[str, list[Twice]] = {}
    for worker, line, answer in told:
        known = manifest.labelled(consolidate.completed(line))
        said = consolidate.read_content(answer.content, label_set)
        if known is not None and not said.skipped:
            pairs.setdefault(worker, []).append((_renamed(known.states, label_set), said.findings))
    return pairs


def repeat_pairs(
    told: Iterable[tuple[str, int, Answer, Answer]], label_set: LabelSet
) -> dict[str, list[Twice]]:
    """Pair first with later answered states; skips are left out.

    Args:
        told: Worker, data object, and her first and her later answer.
        label_set: What was asked.

    Returns:
        Worker → pairs.
    """
    pairs: dict[str, list[Twice]] = {}
    for worker, _, *both in told:
        first, later = (consolidate.read_content(a.content, label_set) for a in both)
        if not first.skipped and not later.skipped:
            pairs.setdefault(worker, []).append((first.findings, later.findings))
    return pairs


def _renamed(states: States, label_set: LabelSet) -> dict[str, State]:
    said = {}
    for name, state in states.items():
        try:
            said[label_set.canonical(name)] = state
        except LabelError:
            continue  # known, but not asked in this job
    return said


def against_known(
    pairs: Sequence[Twice],
    names: Sequence[str],
    *,
    draws: int = agreement.DRAWS,
    seed: int = agreement.SEED,
) -> tuple[Known, dict[str, Known]]:
    """Compare one worker's answers to known ones.

    Args:
        pairs: (known, answered) states of each honeypot answered; known states that are neither
            present nor absent are passed over, and so is what was not answered.
        names: Findings, without `No Finding`, which only repeats what the others say.
        draws: Bootstrap samples of images.
        seed: Of the bootstrap.

    Returns:
        All findings together, and each by itself.
    """
    hits, of, hedged = _counted(pairs, names)
    each = {
        name: Known(
            _share(hits[0, :, k], of[0, :, k]),
            _share(hits[1, :, k], of[1, :, k]),
            int(hedged[:, :, k].sum()),
        )
        for k, name in enumerate(names)
    }
    drawn = agreement.resample(len(pairs), draws, seed)
    hits, of = hits.sum(axis=2), of.sum(axis=2)
    found, cleared = (_pooled(hits[row], of[row], drawn) for row in (0, 1))
    return Known(found, cleared, int(hedged.sum())), each


def repeated(
    pairs: Sequence[Twice],
    names: Sequence[str],
    *,
    draws: int = agreement.DRAWS,
    seed: int = agreement.SEED,
) -> tuple[Repeated, dict[str, Repeated]]:
    """Compare one worker's answers to her own on the same images.

    Args:
        pairs: (first, later) states of each image read twice; skips are passed over.
        names: Findings, without `No Finding`.
        draws: Bootstrap samples of images.
        seed: Of the bootstrap.

    Returns:
        All findings together, and each by itself.
    """
    size = len(ORDER)
    tables = np.zeros((len(pairs), len(names), size, size))
    for i, (first, later) in enumerate(pairs):
        for k, name in enumerate(names):
            one, other = first.get(name), later.get(name)
            if one in ORDER and other in ORDER:
                tables[i, k, ORDER.index(State(one)), ORDER.index(State(other))] = 1
    drawn = agreement.resample(len(pairs), draws, seed)
    weights = np.hstack([np.ones((len(pairs), 1)), drawn])
    each = {name: _repeated(tables[:, k], weights, FEWEST) for k, name in enumerate(names)}
    return _repeated(tables.sum(axis=1), weights, 1), each


def pace(documents: Iterable[Mapping[str, Any]]) -> Pace:
    """Sum up how fast one worker read.

    Args:
        documents: Answers as submitted; `timing.activeMs` is the page's word, and one that is no
            positive number is passed over.
    """
    answered, active = 0, []
    for document in documents:
        answered += 1
        timing = document.get("timing")
        spent = timing.get("activeMs") if isinstance(timing, dict) else None
        if isinstance(spent, int | float) and not isinstance(spent, bool) and 0 < spent < math.inf:
            active.append(spent / 1000)
    if not active:
        return Pace(answered, None, None)
    return Pace(answered, median(active), 3600 * len(active) / sum(active))


def to_document(
    names: Sequence[str],
    *,
    known: Mapping[str, Sequence[Twice]],
    repeats: Mapping[str, Sequence[Twice]],
    documents: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Give what quality.json holds.

    Args:
        names: Findings, without `No Finding`.
        known: Worker → (known, answered) states per honeypot.
        repeats: Worker → (first, later) states per image read twice.
        documents: Worker → answers as submitted.
    """
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "intervals": _INTERVALS,
        "workers": {
            worker: {
                "pace": asdict(pace(documents.get(worker, ()))),
                "honeypots": _document(known.get(worker), lambda p: against_known(p, names)),
                "repeats": _document(repeats.get(worker), lambda p: repeated(p, names)),
            }
            for worker in sorted({*known, *repeats, *documents})
        },
    }


def _document(pairs: Sequence[Twice] | None, compare: Any) -> dict[str, Any] | None:
    if not pairs:
        return None
    whole, each = compare(pairs)
    return {
        "images": len(pairs),
        **_listed(asdict(whole)),
        "labels": {name: _listed(asdict(one)) for name, one in each.items()},
    }


def _listed(value: Any) -> Any:
    """Turn intervals into what JSON has."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _counted(pairs: Sequence[Twice], names: Sequence[str]) -> NDArray[np.int64]:
    """Count (right, asked, hedged; known present, absent; image; finding)."""
    counts = np.zeros((3, 2, len(pairs), len(names)), np.int64)
    hits, of, hedged = counts
    for i, (known, answered) in enumerate(pairs):
        for k, name in enumerate(names):
            said = answered.get(name)
            if said not in ORDER:
                continue
            for row, state in enumerate((State.PRESENT, State.ABSENT)):
                if known.get(name) is state:
                    of[row, i, k] += 1
                    hits[row, i, k] += said is state
                    hedged[row, i, k] += said is State.UNCERTAIN
    return counts


def _share(hits: NDArray[np.int64], of: NDArray[np.int64]) -> Share:
    """Give one finding's share of (I,) images, which are independent of each other."""
    right, every = int(hits.sum()), int(of.sum())
    if every < FEWEST:
        return Share(right, every, None, None)
    return Share(right, every, right / every, wilson(right, every))


def _pooled(hits: NDArray[np.int64], of: NDArray[np.int64], drawn: NDArray[np.uint8]) -> Share:
    """Give the share of all findings together, counted by image (I,); drawn is (I, D)."""
    right, every, images = int(hits.sum()), int(of.sum()), int((of > 0).sum())
    if not every:
        return Share(right, every, None, None)
    share = right / every
    if images < FEWEST or share in (0, 1):
        # too little to draw from: as if all findings of an image were answered alike
        return Share(right, every, share, wilson(share * images, images))
    with np.errstate(invalid="ignore"):  # a sample without any such image
        shares = (hits @ drawn) / (of @ drawn)
    return Share(right, every, share, agreement.interval(shares))


def _repeated(tables: NDArray[np.float64], weights: NDArray[np.float64], fewest: int) -> Repeated:
    """Compare (I, C, C) tables of single images; column 0 of the weights is the images as are."""
    compared = tables.sum(axis=(1, 2))
    images, answers = int((compared > 0).sum()), int(compared.sum())
    if images < fewest:
        return Repeated(images, answers, None, None, None)
    equal = float(np.trace(tables.sum(axis=0))) / answers
    kappas = agreement.kappas(np.einsum("iab,id->abd", tables, weights), agreement.PLAIN)
    if not np.isfinite(kappas[0]):
        return Repeated(images, answers, equal, None, None)
    return Repeated(images, answers, equal, float(kappas[0]), agreement.interval(kappas[1:]))
