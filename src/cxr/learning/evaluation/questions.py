"""What subgroups, views, shortcuts and readers are asked of one evaluation."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.errors import RunError
from cxr.learning.evaluation import readers, sampling, shortcuts, subgroups, views
from cxr.learning.evaluation.columns import DICOM
from cxr.learning.evaluation.scene import OUT_OF_FOLD, Scene

NOT_DECODED = (
    "it is fitted on what the run was trained on, another job's images, whose pixels are not "
    "decoded here; ask the run's own job"
)
_AT_ONCE = 256  # images in memory


def of_subgroups(scene: Scene) -> Mapping[str, Any] | None:
    """Score each group that conf/evaluate asks for."""
    if not scene.settings.subgroups:
        return None
    return subgroups.subgroups(
        scene.sample, scene.settings.subgroups, averaged=scene.scored["averaged"],
        thresholds=scene.predictor.record.thresholds, draws=scene.draws, seed=scene.seed,
    )  # fmt: skip


def within_view(scene: Scene) -> Mapping[str, Any] | None:
    """Score the headline within each frontal view."""
    return views.within_view(
        scene.sample, averaged=scene.scored["averaged"], draws=scene.draws, seed=scene.seed
    )


def metadata_only(scene: Scene) -> Mapping[str, Any] | None:
    """Ask what view, age and sex alone predict."""
    if not scene.settings.shortcuts:
        return None
    if scene.split == OUT_OF_FOLD:  # every image was trained on, by some member
        return shortcuts.crossed(
            scene.sample, averaged=scene.scored["averaged"], draws=scene.draws, seed=scene.seed
        )
    trained = scene.trained
    if trained is not None and len(scene.trained_rows):  # as units too, for views of theirs
        unit = scene.settings.unit
        trained = sampling.pooled(trained, scene.material, scene.trained_rows, unit)
    return shortcuts.metadata_only(
        scene.sample, trained, averaged=scene.scored["averaged"],
        draws=scene.draws, seed=scene.seed,
    )  # fmt: skip


def probe(scene: Scene) -> Mapping[str, Any] | None:
    """Ask what the net knows of view, sex and every column of the table of metadata."""
    if not scene.settings.shortcuts:
        return None
    more = [name for name in scene.images.columns if name not in DICOM]
    ask = partial(
        shortcuts.probe, scene.images,
        columns=["view", "sex", *more], draws=scene.draws, seed=scene.seed,
    )  # fmt: skip
    nothing = np.empty((len(scene.rows), 0))
    if scene.split == OUT_OF_FOLD:
        return {**ask(nothing, None, None), "reason": "each image was trained on by some members"}
    if scene.trained is not None and not len(scene.trained_rows):
        return {**ask(nothing, None, None), "reason": NOT_DECODED}
    if scene.trained is None:
        return ask(nothing, None, None)
    chosen = shortcuts.enough_for_probe(len(scene.trained_rows), scene.seed)
    try:
        known = _embedded(scene, scene.trained_rows[chosen])
        asked = _embedded(scene, scene.rows)
    except RunError as error:  # the net has no layer to ask
        return {**ask(nothing, None, None), "reason": str(error)}
    return ask(asked, scene.trained.take(chosen), known)


def of_readers(scene: Scene) -> Mapping[str, Any] | None:
    """Measure each reader by the others, where images are scored."""
    if scene.answers is None:
        return None
    return readers.readers(scene.images, scene.answers)


def _embedded(scene: Scene, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    parts = [
        scene.predictor.embed(scene.material.gather(rows[start : start + _AT_ONCE]))
        for start in range(0, len(rows), _AT_ONCE)
    ]
    return np.concatenate(parts)
