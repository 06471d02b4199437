"""Made-up evaluations: chest radiographs of patients with a sex, an age and a view."""

import numpy as np

from cxr.learning.evaluation.columns import band
from cxr.learning.evaluation.sample import Sample

NAMES = ("Edema", "Pneumonia", "No Finding")


def sample(n=400, patients=250, seed=0, *, shortcut=1.0, strength=1.5):
    """Draw N images; `shortcut` is how much the view says of a finding, `strength` the model."""
    rng = np.random.default_rng(seed)
    whose = rng.integers(0, patients, n)
    sex = rng.choice(["F", "M"], patients)[whose]
    age = rng.uniform(1, 95, patients)[whose]
    view = np.where(rng.random(n) < 0.5, "AP", "PA")
    odds = shortcut * (view == "AP")[:, None] - 0.8
    truth = (rng.random((n, 3)) < 1 / (1 + np.exp(-odds))).astype(float)
    truth[:, 2] = 1 - truth[:, :2].max(axis=1)
    noise = rng.normal(size=(n, 3)) + strength * truth - 0.7
    return Sample(
        names=NAMES,
        no_finding="No Finding",
        probabilities=np.round(1 / (1 + np.exp(-noise)), 6),
        truth=truth,
        mask=rng.random((n, 3)) < 0.95,
        uncertain=np.zeros((n, 3), bool),
        patients=np.char.mod("%d", whose),
        columns={"sex": sex, "view": view, "age": np.array([band(years) for years in age])},
        ages=np.minimum(age, 90),
    )
