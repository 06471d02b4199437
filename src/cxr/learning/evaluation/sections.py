"""The questions an evaluation answers beside AUROC and average precision, in their order.

A section whose key is in metrics.json is in the report where `templates/report/_<key>.html` is,
and its figures where `drawing.SECTIONS` has them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cxr.learning.evaluation import questions
from cxr.learning.evaluation.scene import Scene

Section = Callable[[Scene], Mapping[str, Any] | None]

SECTIONS: Mapping[str, Section] = {
    "within_view": questions.within_view,
    "metadata_only": questions.metadata_only,
    "subgroups": questions.of_subgroups,
    "probe": questions.probe,
    "readers": questions.of_readers,
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
