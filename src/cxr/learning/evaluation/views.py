"""The headline once more within each frontal view: what is left when the view gives nothing away.

Sicker patients are X-rayed lying, from the front (AP). A net that only told AP from PA would find
disease better than chance in all images together, and no better within either view.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import metrics
from cxr.learning.evaluation import cells
from cxr.learning.evaluation.cells import FEW, Group
from cxr.learning.evaluation.sample import Sample

FRONTAL = ("AP", "PA")


def within_view(
    sample: Sample, *, averaged: Sequence[str], draws: int, seed: int
) -> dict[str, Any] | None:
    """Average the headline's findings within AP and within PA, and take the mean of the two.

    A finding is averaged where enough images of that view have and lack it; the mean is over
    those averaged in both views, and so is `pooled`, the same findings in all images.

    Args:
        sample: With a column `view`.
        averaged: The headline's findings.
        draws: Of the bootstrap, paired with the headline's.
        seed: Of the bootstrap.

    Returns:
        `views`: AP and PA → as `cells.documents` gives a group, and `missing`, the headline's
        findings that are not averaged there; `auroc_macro` and `auroc_macro_ci`, the mean over
        both; `findings` averaged in it, and `missing`; `pooled`; `reason` where there is no mean.
        None where no image has either view.
    """
    texts = _positions(sample)
    if not (texts != "").any() or not averaged:
        return None
    divided = cells.groups(sample, texts, averaged=averaged, draws=draws, seed=seed)
    documents = cells.documents(sample, divided, thresholds={})
    views = {
        document["value"]: document
        | {"missing": [name for name in averaged if name not in document["findings"]]}
        for document in documents
        if document["value"] in FRONTAL
    }
    shown = [
        (group, document)
        for group, document in zip(divided, documents, strict=True)
        if group.value in FRONTAL and document["withheld"] != FEW
    ]
    return {"views": views, **_mean(sample, shown, averaged)}


def frontal(sample: Sample, *, averaged: Sequence[str], draws: int, seed: int) -> list[Group]:
    """Give the groups of AP and PA, without one of too few patients to be shown.

    Takes what `within_view` takes.
    """
    divided = cells.groups(sample, _positions(sample), averaged=averaged, draws=draws, seed=seed)
    hidden = cells.withheld([sample.patients[group.rows] for group in divided])
    return [
        group
        for group, why in zip(divided, hidden, strict=True)
        if group.value in FRONTAL and why != FEW
    ]


def _positions(sample: Sample) -> NDArray[np.str_]:
    texts = np.char.upper(sample.columns.get("view", np.full(len(sample.patients), "")))
    return np.where(np.isin(texts, FRONTAL), texts, "")


def _mean(
    sample: Sample, shown: Sequence[tuple[Group, Mapping[str, Any]]], averaged: Sequence[str]
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "auroc_macro": None, "auroc_macro_ci": None, "findings": [], "missing": list(averaged),
        "pooled": None, "reason": None,
    }  # fmt: skip
    if len(shown) < len(FRONTAL):
        return said | {"reason": f"fewer than {metrics.FEWEST_PATIENTS} patients in AP or in PA"}
    both = shown[0][0].averaged & shown[1][0].averaged
    if not both.any():
        return said | {"reason": "no finding has enough images of both classes in AP and in PA"}
    names = [name for name, k in zip(sample.names, both, strict=True) if k]
    # of a mean and one of its two halves the other half follows, so it has no more digits
    coarse = any(cells.quiet(document, names) for _, document in shown)
    (one, drawn_one), (other, drawn_other) = (group.macro(both) for group, _ in shown)
    if all(cells.certain(sample, group, both) for group, _ in shown):
        ends = metrics.interval((drawn_one + drawn_other) / 2)
        said["auroc_macro_ci"] = ends and [cells.rounded(end, coarse) for end in ends]
    pooled = metrics.aurocs(
        sample.probabilities[:, both], sample.truth[:, both], sample.mask[:, both]
    )
    return said | {
        "auroc_macro": cells.rounded((one + other) / 2, coarse),
        "findings": names,
        "missing": [name for name in averaged if name not in names],
        "pooled": metrics.macro(pooled),
    }
