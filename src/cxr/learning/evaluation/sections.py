"""The questions an evaluation answers beside AUROC and average precision, in their order.

The report tells a section in `templates/report/_<key>.html`; its figures are in `figures.FIGURES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cxr.learning.evaluation import calibration, cohort, doubt, operating, pointing, questions
from cxr.learning.evaluation.scene import Scene

Section = Callable[[Scene], Mapping[str, Any] | None]

SECTIONS: Mapping[str, Section] = {
    "cohort": cohort.section,
    "within_view": questions.within_view,
    "metadata_only": questions.metadata_only,
    "subgroups": questions.of_subgroups,
    "probe": questions.probe,
    "readers": questions.of_readers,
    "operating": operating.section,
    "calibration": calibration.section,
    "uncertain": doubt.section,
    "pointing": pointing.game,
}
"""Key in metrics.json → what answers; a later one finds the answers of those before it."""


def answer(scene: Scene) -> dict[str, Any]:
    """Ask every section; what metrics.json holds.

    Args:
        scene: With `scored` as `score.score` made it.
    """
    scored = dict(scene.scored)
    for key, section in SECTIONS.items():
        said = section(replace(scene, scored=scored))
        if said is not None:
            scored[key] = said
    return scored
