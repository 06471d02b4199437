"""Samples to score, made of arrays."""

import numpy as np

from cxr.learning import predictions
from cxr.learning.evaluation.sample import Sample


def made(probabilities, truth, mask=None, names=None, **known):
    """A sample of N images, each of another patient unless `patients` says otherwise."""
    count, labels = probabilities.shape
    mask = np.ones((count, labels), bool) if mask is None else mask
    patients = known.pop("patients", [f"{k:09d}" for k in range(count)])
    uncertain = known.pop("uncertain", np.zeros((count, labels), bool))
    columns = {name: np.array(texts, np.str_) for name, texts in known.pop("columns", {}).items()}
    return Sample(
        names=tuple(names or (f"finding {k}" for k in range(labels))),
        no_finding=known.pop("no_finding", None),
        probabilities=predictions.rounded(probabilities),
        truth=np.where(mask, truth, 0).astype(np.float64),
        mask=mask,
        uncertain=uncertain,
        patients=np.array(patients, np.str_),
        columns=columns,
        ages=np.array(known.pop("ages", [np.nan] * count), np.float64),
        **known,
    )


def drawn(seed=0, count=200, labels=3, prevalence=0.3, gain=1.5, patients=120, **known):
    """A sample at random, with ties of patients and a tenth masked."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, labels)) < prevalence).astype(np.float64)
    logits = rng.normal(size=truth.shape) + gain * truth - 1
    mask = rng.random(truth.shape) < 0.9
    whose = [f"{k:09d}" for k in rng.integers(0, patients, count)]
    return made(1 / (1 + np.exp(-logits)), truth, mask, patients=whose, **known)
