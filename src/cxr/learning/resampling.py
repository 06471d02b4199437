"""Patients drawn with replacement: the one bootstrap behind every interval.

Whatever is computed on the same patients with the same seed sees the same draws, so that any two
figures, of two models or of two groups, are paired.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 128
"""Draws in one chunk; keeps a label's weights (N, 128) in cache."""


def weights(
    patient_ids: Sequence[str] | NDArray[Any], *, draws: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Say how often each image comes in each draw, a chunk of draws at a time.

    A patient comes with all images or not at all. Draws depend on the sorted patients and the
    seed, not on the order of rows.

    Args:
        patient_ids: (N,)
        draws: How many, D.
        seed: Same seed, same draws.

    Yields:
        (N, up to `AT_ONCE`) whole numbers, D columns in all.
    """
    patients, which = np.unique(np.asarray(patient_ids), return_inverse=True)
    rng = np.random.default_rng(seed)
    for first in range(0, draws, AT_ONCE):
        size = min(AT_ONCE, draws - first)
        # as good as rng.multinomial, and faster: count how often each patient was drawn
        drawn = rng.integers(len(patients), size=(size, len(patients)))
        drawn += np.arange(size)[:, None] * len(patients)
        counts = np.bincount(drawn.ravel(), minlength=size * len(patients))
        # float32 holds these whole numbers exactly below 2**24
        yield counts.reshape(size, -1).T.astype(np.float32)[which]


def means(
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
    patient_ids: Sequence[str] | NDArray[Any],
    *,
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """Recompute the mean of each column in every draw.

    Args:
        values: (N, K)
        mask: (N, K) False where there is no value.
        patient_ids: (N,)
        draws: How many, D.
        seed: Same seed, same draws.

    Returns:
        (D, K); NaN where a draw has no value.
    """
    parts = [np.empty((0, values.shape[1]))]
    summed, counted = np.where(mask, values, 0.0), mask.astype(np.float64)
    for chunk in weights(patient_ids, draws=draws, seed=seed):
        weight = chunk.T.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append((weight @ summed) / (weight @ counted))
    return np.concatenate(parts)
