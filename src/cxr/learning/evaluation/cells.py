"""Figures of one group of images, and what is kept quiet so that they point at nobody.

A group of fewer than ten patients is withheld, and so is its value, which may be somebody's
number, unless it is a sex, a view or a band of age. So is the size of a second group where it
would give away the first one's, by subtraction from all; its figures are then rounded coarsely,
for a fraction with all its digits tells its denominator. The same holds for each finding's
positives within a group.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import metrics, points
from cxr.learning.evaluation import columns
from cxr.learning.evaluation.sample import Sample
from cxr.learning.metrics import FEWEST_PATIENTS
from cxr.learning.score import ENOUGH

UNKNOWN = "not known"
OTHER = "other"
FEW = f"fewer than {FEWEST_PATIENTS} patients"
TELLING = "withheld: it would give away the size of a smaller group"
FEW_EITHER = f"fewer than {FEWEST_PATIENTS} patients with it, or without"


@dataclass(frozen=True)
class Group:
    """The images of one value of a column, and its figures in every draw.

    Attributes:
        value: As in the column; `UNKNOWN` where that is empty, see also `merged`.
        rows: (N,) which units of the sample these are.
        averaged: (L,) which labels are in its macro average: the headline's that have enough
            images of both classes here.
        auroc: (L,) NaN where there is one class.
        draws: (D, L) the same in each draw.
    """

    value: str
    rows: NDArray[np.bool_]
    averaged: NDArray[np.bool_]
    auroc: NDArray[np.float64]
    draws: NDArray[np.float64]

    def macro(self, which: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
        """Average AUROC over some labels, in the data and in each draw (D,)."""
        return float(self.auroc[which].mean()), self.draws[:, which].mean(axis=1)


def merged(texts: NDArray[np.str_], patients: NDArray[Any]) -> NDArray[np.str_]:
    """Put values that few patients have into one group, `OTHER`, which does not say what they are.

    Args:
        texts: (N,) a column.
        patients: (N,) whose each is.

    >>> merged(np.array(["4711", *["north"] * 10]), np.arange(11)).tolist()[:2]
    ['other', 'north']
    """
    few = [
        value
        for value in sorted(set(texts.tolist()))
        if len(np.unique(patients[texts == value])) < FEWEST_PATIENTS
        and not columns.is_plain(value)
    ]
    return np.array([OTHER if text in few else text for text in texts.tolist()], np.str_)


def groups(
    sample: Sample,
    texts: NDArray[np.str_],
    *,
    averaged: Sequence[str],
    draws: int,
    seed: int,
) -> list[Group]:
    """Divide a sample by a column; numbers go before words, what is not known comes last.

    Every group sees the same draws of the same patients as every other and as the headline.

    Args:
        sample: N units.
        texts: (N,) the column.
        averaged: The headline's findings.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    values = sorted(set(texts.tolist()), key=_order)
    rows = [texts == value for value in values]
    count = len(sample.names)
    # side by side, so that patients are drawn once for all groups
    masks = [sample.mask & inside[:, None] for inside in rows]
    drawn = metrics.bootstrap(
        np.tile(sample.probabilities, len(values)), np.tile(sample.truth, len(values)),
        np.concatenate(masks, axis=1), sample.patients, draws=draws, seed=seed,
    ).auroc  # fmt: skip
    found = []
    for k, (value, mask) in enumerate(zip(values, masks, strict=True)):
        areas = metrics.aurocs(sample.probabilities, sample.truth, mask)
        positives = (mask & (sample.truth == 1)).sum(axis=0)
        enough = np.minimum(positives, mask.sum(axis=0) - positives) >= ENOUGH
        found.append(
            Group(
                value or UNKNOWN,
                rows[k],
                enough & np.isin(sample.names, averaged),
                np.array([np.nan if area is None else area for area in areas]),
                drawn[:, k * count : (k + 1) * count],
            )
        )
    return found


def _order(value: str) -> tuple[bool, float, str]:
    number = re.search(r"\d+", value)
    return not value, float(number[0]) if number else np.inf, value


def withheld(patients: Sequence[NDArray[Any]]) -> list[str | None]:
    """Say which groups must be kept quiet, given whose images are in each.

    Args:
        patients: Per group, whose image each is.

    Returns:
        Per group `FEW`, `TELLING`, or None. Where something is withheld, at least two groups
        are, of ten patients together, if there are as many.

    >>> [why is not None for why in withheld([np.arange(3), np.arange(100), np.arange(40)])]
    [True, False, True]
    """
    sizes = [len(np.unique(of)) for of in patients]
    said: list[str | None] = [FEW if 0 < n < FEWEST_PATIENTS else None for n in sizes]
    for k in sorted(range(len(sizes)), key=lambda k: sizes[k]):
        hidden = [of for of, why in zip(patients, said, strict=True) if why]
        if not hidden or (
            len(hidden) > 1 and len(np.unique(np.concatenate(hidden))) >= FEWEST_PATIENTS
        ):
            break
        said[k] = said[k] or TELLING
    return said


def documents(
    sample: Sample,
    divided: Sequence[Group],
    *,
    thresholds: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Give what metrics.json holds of each group.

    Args:
        sample: That was divided.
        divided: All its groups.
        thresholds: Label → what was chosen for it, as in run.json; may be empty.

    Returns:
        `value`, `withheld` (why the group or its size is), `images` and `patients` (None where
        withheld), `findings` (the averaged ones), `auroc_macro`, `auroc_macro_ci`, and `labels`:
        each with `n`, `positives`, `auroc`, `sensitivity`, `specificity`, their intervals, and
        `reason` where they are withheld.
    """
    hidden = withheld([sample.patients[group.rows] for group in divided])
    said: list[dict[str, Any]] = []
    for group, why in zip(divided, hidden, strict=True):
        one: dict[str, Any] = {
            "value": group.value,
            "withheld": why,
            "images": None if why else int(group.rows.sum()),
            "patients": None if why else len(np.unique(sample.patients[group.rows])),
            "findings": [],
            "auroc_macro": None,
            "auroc_macro_ci": None,
            "labels": {},
        }
        said.append(one)
    for k, name in enumerate(sample.names):
        threshold = thresholds.get(name, {}).get("threshold")
        for one, figures in zip(said, _labels(sample, divided, hidden, k, threshold), strict=True):
            if figures is not None:
                one["labels"][name] = figures
    for group, one in zip(divided, said, strict=True):
        if one["withheld"] != FEW and group.averaged.any():
            one |= _macro(sample, group, one)
    return said


def _macro(sample: Sample, group: Group, document: Mapping[str, Any]) -> dict[str, Any]:
    """Average the findings of a group; nothing where it would be one withheld finding's own."""
    names = _named(sample, group.averaged)
    if len(names) == 1 and document["labels"][names[0]]["reason"]:
        return {}
    value, drawn = group.macro(group.averaged)
    coarse = quiet(document, names)
    ends = metrics.interval(drawn) if certain(sample, group, group.averaged) else None
    return {
        "findings": names,
        "auroc_macro": rounded(value, coarse),
        "auroc_macro_ci": _ends(ends, coarse),
    }


def quiet(document: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Say whether figures over some findings of a group must be coarse, for a count is withheld.

    Args:
        document: One group, as `documents` gives it.
        names: The findings; those of a group withheld whole are in no document.
    """
    labels = document["labels"]
    return bool(document["withheld"]) or any(labels[name]["n"] is None for name in names)


def certain(sample: Sample, group: Group, which: NDArray[np.bool_]) -> bool:
    """Say whether a macro average over some labels may have an interval here."""
    present = sample.mask & (sample.truth == 1) & group.rows[:, None]
    with_any = sample.patients[present[:, which].any(axis=1)]
    return len(np.unique(with_any)) >= FEWEST_PATIENTS


def _named(sample: Sample, which: NDArray[np.bool_]) -> list[str]:
    return [name for name, one in zip(sample.names, which, strict=True) if one]


def _labels(
    sample: Sample,
    divided: Sequence[Group],
    hidden: Sequence[str | None],
    k: int,
    threshold: float | None,
) -> list[dict[str, Any] | None]:
    """Give one label's figures in every group; None in those withheld."""
    known = [group.rows & sample.mask[:, k] for group in divided]
    present = sample.truth[:, k] == 1
    positive = withheld([sample.patients[rows & present] for rows in known])
    negative = withheld([sample.patients[rows & ~present] for rows in known])
    said: list[dict[str, Any] | None] = []
    for group, why, rows, few in zip(
        divided, hidden, known, zip(positive, negative, strict=True), strict=True
    ):
        if why == FEW:
            said.append(None)
            continue
        coarse = bool(why or few[0] or few[1])
        figures: dict[str, Any] = {
            "n": None if coarse else int(rows.sum()),
            "positives": None if coarse else int((rows & present).sum()),
            "reason": None,
        }
        figures |= dict.fromkeys(_FIGURES)
        if FEW in few or not (rows & present).any() or not (rows & ~present).any():
            figures["reason"] = FEW_EITHER
        else:
            figures |= _figures(sample, group, rows, k, threshold, coarse)
        said.append(figures)
    return said


_FIGURES = (
    "auroc", "auroc_ci", "sensitivity", "sensitivity_ci", "specificity", "specificity_ci",
)  # fmt: skip


def _figures(
    sample: Sample,
    group: Group,
    rows: NDArray[np.bool_],
    k: int,
    threshold: float | None,
    coarse: bool,
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "auroc": rounded(float(group.auroc[k]), coarse),
        "auroc_ci": _ends(metrics.interval(group.draws[:, k]), coarse),
    }
    if threshold is None:
        return said
    called = sample.probabilities[:, k] > threshold
    for key, asked, hits in (
        ("sensitivity", rows & (sample.truth[:, k] == 1), called),
        ("specificity", rows & (sample.truth[:, k] == 0), ~called),
    ):
        said[key] = rounded(float(hits[asked].mean()), coarse)
        ends = points.proportion_interval(hits[asked], sample.patients[asked])
        said[f"{key}_ci"] = _ends(ends, coarse)
    return said


def rounded(value: float, coarse: bool, digits: int = 4) -> float:
    """Round a figure; to two digits where more would tell what is withheld."""
    return round(value, 2 if coarse else digits)


def _ends(ends: tuple[float, float] | None, coarse: bool) -> list[float] | None:
    return None if ends is None else [rounded(end, coarse) for end in ends]
