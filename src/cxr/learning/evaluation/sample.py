"""What is scored: predictions and truth of N units, and what is known of whom they show.

A unit is an image, a study or a patient. No identifier is in it; patients are numbered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """N units and L labels, in one row order.

    Attributes:
        names: (L,) in column order.
        no_finding: The label reported but never averaged, or None.
        probabilities: (N, L) as predictions.csv holds them.
        truth: (N, L) float64 of 0 and 1; 0 where masked.
        mask: (N, L) True where the truth is known.
        uncertain: (N, L) True where somebody looked and could not say; masked everywhere.
        patients: (N,) whose unit it is, as numbers that identify nobody.
        columns: Name → (N,) texts, "" where unknown: sex, age, view and those of a metadata table.
        ages: (N,) years, NaN where unknown; over 89 is 90.
        unit: `image`, `study` or `patient`.
    """

    names: tuple[str, ...]
    no_finding: str | None
    probabilities: NDArray[np.float64]
    truth: NDArray[np.float64]
    mask: NDArray[np.bool_]
    uncertain: NDArray[np.bool_]
    patients: NDArray[np.str_]
    columns: Mapping[str, NDArray[np.str_]]
    ages: NDArray[np.float64]
    unit: str = "image"

    def take(self, rows: NDArray[np.intp]) -> "Sample":
        """Give some of the units, in the order of `rows`."""
        return replace(
            self,
            probabilities=self.probabilities[rows],
            truth=self.truth[rows],
            mask=self.mask[rows],
            uncertain=self.uncertain[rows],
            patients=self.patients[rows],
            columns={name: texts[rows] for name, texts in self.columns.items()},
            ages=self.ages[rows],
        )
