"""What an evaluation was asked, and all that a section of metrics.json may look at.

A section answers one question. It is a function of a `Scene` that gives plain JSON, or None where
it was not asked or nothing can be said; `sections.SECTIONS` lists them.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr.errors import ConfigError
from cxr.learning.answers import Answers
from cxr.learning.evaluation.columns import DICOM, Columns
from cxr.learning.evaluation.sample import Sample
from cxr.learning.material import Material
from cxr.learning.predictor import Predictor

Unit = Literal["image", "study", "patient"]

OUT_OF_FOLD = "out-of-fold"
"""What the images of an ensemble of folds are called: each was predicted by who never saw it."""


@dataclass(frozen=True)
class Settings:
    """What conf/evaluate asks; the same keys.

    Attributes:
        unit: What is scored.
        calibration: What is fitted on val: `none`, `temperature` or `platt`.
        threshold: What a threshold is chosen by: `youden`, `sensitivity` or `specificity`.
        at: The sensitivity or specificity to reach; None with `youden`.
        prevalence: Finding → share of those who will be asked, for PPV and NPV.
        subgroups: Columns to score apart.
        metadata: A CSV of more columns, or None.
        shortcuts: Whether to ask what view, sex and age alone predict.
        saliency: Whether to draw where the net looks.
    """

    unit: Unit = "image"
    calibration: Literal["none", "temperature", "platt"] = "none"
    threshold: Literal["youden", "sensitivity", "specificity"] = "youden"
    at: float | None = None
    prevalence: Mapping[str, float] = field(default_factory=dict)
    subgroups: Sequence[str] = ("sex", "age", "view")
    metadata: str | None = None
    shortcuts: bool = True
    saliency: bool = False

    def check(self, names: Sequence[str]) -> Columns:
        """Refuse what no answer could be given to, and read what stands in the metadata table.

        Args:
            names: The labels of the job.

        Raises:
            ConfigError: A finding or a column is unknown.
            DataError: The table of metadata cannot be read.
        """
        for name in self.prevalence:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
                raise ConfigError(
                    f"evaluate.prevalence: expected a label of the job, met {name!r}; "
                    f"the nearest is {near!r}"
                )
        columns = Columns.read(self.metadata)
        for name in self.subgroups:
            known = [*DICOM, *columns.names]
            if name not in known:
                where = f"a column of {self.metadata}" if self.metadata else "evaluate.metadata=…"
                raise ConfigError(
                    f"evaluate.subgroups: expected {', '.join(DICOM)} or {where}, met {name!r}; "
                    f"there are {', '.join(known)}"
                )
        return columns


@dataclass(frozen=True)
class Scene:
    """One evaluation, for a section to look at.

    Attributes:
        sample: The units that are scored.
        images: The same, image by image; `sample` itself where images are scored.
        plain: The units of `sample` with their probabilities before calibration; None where
            nothing was fitted.
        trained: The images the run was trained on, probabilities NaN, where they are of another
            job as the units that are scored; None where they are not at hand.
        scored: What `score.score` made of `sample`, and the sections before this one.
        settings: What was asked.
        split: What these images are called: `test`, `val`, `external`.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        predictor: Of the run.
        material: Of the job, labels in the order of the run.
        rows: (N,) of `material`, those of `images`.
        trained_rows: (M,) of `material`, those of `trained`.
        answers: What each reader said of `images`; None where no reader is known.
        splits: (len(material)) of `train`, `val`, `test` and "" for what came later; None in
            another job.
        by: (N, M) which of an ensemble's members were asked about each of `rows`; None: all.
    """

    sample: Sample
    images: Sample
    plain: Sample | None
    trained: Sample | None
    scored: Mapping[str, Any]
    settings: Settings
    split: str
    draws: int
    seed: int
    predictor: Predictor
    material: Material
    rows: NDArray[np.intp]
    trained_rows: NDArray[np.intp]
    answers: Answers | None = None
    splits: NDArray[np.str_] | None = None
    by: NDArray[np.bool_] | None = None
