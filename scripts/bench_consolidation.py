"""Measure how long a large job's answers take to become labels, on one core.

Part of the section `reading_room` of scripts/bench.py; by itself it prints its figures.
"""

import json
import time
from collections.abc import Mapping

import numpy as np

from cxr.contract import consolidate
from cxr.contract.labels import State, from_names
from cxr.labeling import agreement, consolidation, dawid_skene, votes
from cxr.labeling.votes import ORDER

IMAGES, WORKERS, FINDINGS, MISSING = 10_000, 5, 14, 0.4
Answers = dict[str, dict[str, dict[str, State]]]


def answers(*, images: int = IMAGES, seed: int = 0) -> tuple[Answers, dict[str, list[bool]]]:
    """Simulate a job: workers of differing skill, some hedging, four in ten answers missing.

    Returns:
        Image → worker → finding → state, and finding → what is true of each image.
    """
    chance = np.random.default_rng(seed)
    true = chance.random((images, 1, FINDINGS)) < chance.uniform(0.02, 0.3, FINDINGS)
    right = np.where(
        true,
        chance.uniform(0.55, 0.95, (1, WORKERS, FINDINGS)),
        chance.uniform(0.75, 0.99, (1, WORKERS, FINDINGS)),
    )
    said = np.where(chance.random(right.shape) < right, true, ~true) * 2
    said[chance.random(said.shape) < 0.05] = 1
    there = chance.random((images, WORKERS)) >= MISSING
    names = [f"Finding {k}" for k in range(FINDINGS)]
    made = {
        f"image-{i}": {
            f"worker-{w}": {
                name: ORDER[c] for name, c in zip(names, said[i, w].tolist(), strict=True)
            }
            for w in range(WORKERS)
            if there[i, w]
        }
        for i in range(images)
    }
    return made, {name: true[:, 0, k].tolist() for k, name in enumerate(names)}


def figures() -> dict[str, float]:
    """Time weighing readers, the whole consolidation with reading its JSON, and agreement."""
    told, _ = answers()
    names = list(next(states for by in told.values() for states in by.values()))
    begun = time.perf_counter()
    dawid_skene.fit(votes.gather(told, names))
    dawid_skene_s = time.perf_counter() - begun
    label_set = from_names([*names[:-1], "No Finding"])
    collected = {
        image: consolidate.consolidate({w: _form(said) for w, said in by.items()}, label_set)
        for image, by in told.items()
        if by
    }
    begun = time.perf_counter()
    consolidation.apply(collected, "dawid_skene", label_set)
    applied_s = time.perf_counter() - begun
    begun = time.perf_counter()
    agreement.agreement(told, names)
    return {
        "dawid_skene_s": dawid_skene_s,
        "consolidate_s": applied_s,
        "agreement_s": time.perf_counter() - begun,
    }


def _form(said: Mapping[str, State]) -> str:
    findings = [{"label": name, "state": state} for name, state in said.items()]
    findings[-1] = {"label": "No Finding", "state": "absent"}
    return json.dumps(
        {"annotation": json.dumps({"schema": "cxr-annotation/1", "findings": findings})}
    )


if __name__ == "__main__":
    for key, value in figures().items():
        print(f"{key:<16} {value:.3g}")
