"""How a job goes, for whoever leads it: every answer in, the figures of the job page out.

Pure: nothing is stored or asked here. A figure is `{"value", "low", "high"}` with its 95 %
interval, or `{"value": None, "why": …}` where it cannot be had. Times come from the store; only
active time is what the page itself measured, so it is left out where an answer does not say.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cxr.contract import consolidate, labels
from cxr.contract.labels import LabelSet, State
from cxr.labeling import Job, agreement, quality
from cxr.labeling.agreement import Agreement, Interval
from cxr.labeling.quality import Share, Twice
from cxr.labeling.results import Answer

PAUSE_S = 600
"""Between two answers; a longer pause is no work, and does not count into images per hour."""
RECENT_S = 900
"""What the rate of the whole job, and so the time left, is taken from."""
_LONGEST_ACTIVE_S = 8 * 3600
_NO_REPEATS = (
    "None in this job. To have readers meet some of their own images again unannounced, set "
    "job.repeats to a share, such as 0.05."
)


@dataclass(frozen=True)
class Reading:
    """One worker's answer on one data object, as far as figures need it.

    Attributes:
        object_id: The manifest line's number.
        worker: Who.
        states: Label → state; empty where skipped.
        skipped: Whether no answer was given.
        active_s: Seconds with the mouse or keyboard in use, or None where unsaid.
        submitted_at: Seconds since the epoch.
    """

    object_id: int
    worker: str
    states: Mapping[str, State]
    skipped: bool
    active_s: float | None
    submitted_at: float


def reading(object_id: int, answer: Answer, label_set: LabelSet) -> Reading:
    """Read one answer.

    Raises:
        AnnotationError: It cannot be understood.
    """
    said = consolidate.read_content(answer.content, label_set)
    active_s = _active_s(said.document.get("timing"))
    return Reading(
        object_id, answer.worker_id, said.findings, said.skipped, active_s, answer.submitted_at
    )


def _active_s(timing: object) -> float | None:
    # the browser says this, so it may be anything
    value = timing.get("activeMs") if isinstance(timing, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value / 1000 if 0 < value < 1000 * _LONGEST_ACTIVE_S else None


def count(told: Sequence[Reading], label: str) -> dict[str, int]:
    """Count who said what of one finding; who skipped said nothing."""
    said = Counter(str(r.states[label]) for r in told if not r.skipped)
    return {str(state): said[str(state)] for state in labels.ANSWERS}


def workers(told: Sequence[Reading], job: Job, now: float) -> list[dict[str, Any]]:
    """Give each reader's answers, images per hour of work, median active seconds and skips.

    Who answered and is no longer of the team comes last.

    Args:
        told: The job's answers.
        job: Whose readers they are.
        now: Seconds since the epoch.
    """
    mine: dict[str, list[Reading]] = {reader.id: [] for reader in job.answering}
    for one in told:
        mine.setdefault(one.worker, []).append(one)
    names = {reader.id: reader.name for reader in job.readers}
    return [
        {
            "id": worker,
            "name": names.get(worker, ""),
            "answered": len(found),
            "perHour": pace([r.submitted_at for r in found]),
            "activeS": _median([r.active_s for r in found if r.active_s is not None]),
            "skips": sum(r.skipped for r in found),
            "lastS": now - max(r.submitted_at for r in found) if found else None,
        }
        for worker, found in mine.items()
    ]


def pace(times: Sequence[float]) -> dict[str, Any]:
    """Give answers per hour of work, pauses longer than `PAUSE_S` left out.

    >>> pace([0, 30, 60, 86_400, 86_430])["value"]
    120.0
    """
    ordered = sorted(times)
    gaps = [b - a for a, b in itertools.pairwise(ordered) if b - a <= PAUSE_S]
    worked = sum(gaps)
    if not worked:
        return _none("no two answers in a row")
    return {"value": len(gaps) / worked * 3600}


def rate(times: Iterable[float], now: float) -> float | None:
    """Give the whole job's answers per hour over the last `RECENT_S`; None where too few.

    >>> rate([-5000, 10, 20, 30], now=40)
    240.0
    """
    recent = [t for t in times if now - RECENT_S <= t <= now]
    if len(recent) < 3 or now <= min(recent):
        return None
    # the first of them opens the time in which the others came
    return (len(recent) - 1) / (now - min(recent)) * 3600


def findings(told: Sequence[Reading], job: Job) -> list[dict[str, Any]]:
    """Give each finding's prevalence, agreement and number of disagreements.

    Prevalence is over the images somebody answered, by majority as every consolidation begins.
    """
    by_object: dict[str, dict[str, Mapping[str, State]]] = {}
    for one in told:
        if not one.skipped:
            by_object.setdefault(str(one.object_id), {})[one.worker] = one.states
    common = [_common(list(votes.values()), job.labels) for votes in by_object.values()]
    rows = agreement.agreement(by_object, job.labels.names)
    return [
        {
            "label": row.label,
            "images": len(common),
            **_prevalence(row.label, common),
            "alpha": figure(row.alpha, row.alpha_ci, row.reason),
            "kappa": figure(row.kappa, row.kappa_ci, _why_kappa(row)),
            "positive": figure(row.positive, row.positive_ci, "nobody said present"),
            "negative": figure(row.negative, row.negative_ci, "nobody said absent"),
            "disagreements": row.disagreements,
        }
        for row in rows
    ]


def _common(votes: Sequence[Mapping[str, State]], label_set: LabelSet) -> dict[str, State]:
    states = {name: consolidate.majority([v[name] for v in votes]) for name in label_set.names}
    if label_set.no_finding:
        states[label_set.no_finding] = labels.follow_no_finding(label_set, states)
    return states


def _prevalence(label: str, common: Sequence[Mapping[str, State]]) -> dict[str, float]:
    count = Counter(states[label] for states in common)
    whole = max(1, len(common))
    return {
        "present": count[State.PRESENT] / whole,
        "uncertain": count[State.UNCERTAIN] / whole,
    }


def _why_kappa(row: Agreement) -> str:
    if row.workers < 2 or not row.objects:
        return "no image has two answers"
    return "every two readers always gave the same one answer"


def honeypots(told: Sequence[tuple[str, Mapping[str, Any], Answer]], job: Job) -> dict[str, Any]:
    """Give each reader's sensitivity and specificity on images whose answers are known.

    Args:
        told: Worker, the line of the known image's output manifest, and her answer.
        job: Whose labels were asked.
    """
    pairs = quality.known_pairs(told, job.labels)
    rows = []
    for worker, found in _in_order(pairs, job):
        whole, _ = quality.against_known(found, job.labels.findings)
        rows.append(
            _named(worker, job)
            | {
                "images": len(found),
                "sensitivity": _share(whole.sensitivity, "no known finding was present"),
                "specificity": _share(whole.specificity, "no known finding was absent"),
            }
        )
    return {"workers": rows, "why": None if rows else _why_unknown(job)}


def _why_unknown(job: Job) -> str:
    if job.checks.known and job.checks.known_share:
        return "No image with a known answer has been read yet."
    return (
        "None in this job. To have them strewn in unannounced, set job.honeypots to the output "
        "manifest whose answers are known and to their share, such as "
        "{manifest: known/output.manifest, share: 0.05}."
    )


def repeats(told: Sequence[tuple[str, int, Answer, Answer]], job: Job) -> dict[str, Any]:
    """Give how far each reader agrees with her own earlier answers.

    Args:
        told: Worker, data object, and her first and her later answer.
        job: Whose labels were asked.
    """
    pairs = quality.repeat_pairs(told, job.labels)
    rows = []
    for worker, found in _in_order(pairs, job):
        whole, _ = quality.repeated(found, job.labels.findings)
        kappa = figure(whole.kappa, whole.kappa_ci, "always the same one answer")
        rows.append(_named(worker, job) | {"images": whole.images, "kappa": kappa})
    why = "No image has been read twice yet." if job.checks.repeat_share else _NO_REPEATS
    return {"workers": rows, "why": None if rows else why}


def _in_order(pairs: Mapping[str, list[Twice]], job: Job) -> list[tuple[str, list[Twice]]]:
    place = {reader.id: i for i, reader in enumerate(job.readers)}
    return sorted(pairs.items(), key=lambda item: (place.get(item[0], len(place)), item[0]))


def _named(worker: str, job: Job) -> dict[str, Any]:
    return {"id": worker, "name": next((r.name for r in job.readers if r.id == worker), "")}


def _share(share: Share, why: str) -> dict[str, Any]:
    return figure(share.value, share.ci, why)


def figure(value: float | None, interval: Interval | None, why: str | None) -> dict[str, Any]:
    """Give a value with its interval, or the reason why there is none."""
    if value is None:
        return _none(why or "not enough answers yet")
    if interval is None:
        return {"value": value, "low": None, "high": None, "why": "too few answers for an interval"}
    return {"value": value, "low": interval[0], "high": interval[1]}


def _none(why: str) -> dict[str, Any]:
    return {"value": None, "why": why}


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
