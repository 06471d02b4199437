"""A labelled job made ready: examples decoded and turned into numbers, row by row alike."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning import cache, examples, targets
from cxr.learning.cache import Shards
from cxr.learning.examples import Cohort
from cxr.learning.targets import Policy
from cxr.pacs import Pacs


@dataclass(frozen=True)
class Material:
    """N examples with L labels.

    Attributes:
        cohort: Who they are.
        images: Gather (B, S, S) uint8 by `rows[chosen]`.
        rows: (N) where in `images` each example is.
        targets: (N, L) float32 in [0, 1], trained on.
        weights: (N, L) float32, of the targets; 0 where there is none.
        truth: (N, L) float32 of 0 and 1, scored on.
        mask: (N, L) bool, True where the truth is known.
        uncertain: (N, L) bool, True where somebody looked and could not say.
        pixel_hashes: (N) equal for equal pictures.
        manifest_sha256: Of the output manifest.
        policy: By which states became numbers.
    """

    cohort: Cohort
    images: Shards
    rows: NDArray[np.intp]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    truth: NDArray[np.float32]
    mask: NDArray[np.bool_]
    uncertain: NDArray[np.bool_]
    pixel_hashes: Sequence[str]
    manifest_sha256: str
    policy: Policy

    @property
    def patient_ids(self) -> list[str]:
        """Whose image each example is; never written anywhere."""
        return [example.patient_id for example in self.cohort.examples]

    @property
    def sop_instance_uids(self) -> list[str]:
        """Which image each example is."""
        return [example.sop_instance_uid for example in self.cohort.examples]

    @property
    def sha256(self) -> str:
        """Say by one hash which pictures have which targets, whatever the order of the rows.

        Truth is in it too: another truth under the same targets scores otherwise.
        """
        digest = hashlib.sha256("\0".join(self.cohort.names).encode())
        said = self.targets, self.weights, self.truth, self.mask, self.uncertain
        # by what they show, for elsewhere the same images go under other UIDs
        for pixels, asked in sorted(
            (pixels, b"".join(table[row].tobytes() for table in said))
            for row, pixels in enumerate(self.pixel_hashes)
        ):
            digest.update(f"\0{pixels}\0".encode() + asked)
        return digest.hexdigest()

    def gather(self, chosen: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Give the images of some examples, (len(chosen), S, S) uint8."""
        return self.images[self.rows[chosen]]


def prepare(
    manifest: Path,
    pacs: Pacs,
    cache_folder: Path,
    *,
    attribute: str | None,
    policy: Policy,
    image_size: Sequence[int],
    preset: str,
    workers: int,
    check: Callable[[Cohort], None] | None = None,
) -> Material:
    """Read an output manifest, decode what is not cached, apply the target policy.

    `check` is called with the examples before anything slow; it may refuse them.

    Raises:
        DataError: There is no such manifest, or nothing in it can be used.
    """
    if not manifest.is_file():
        folder = manifest.parents[2]
        inside = manifest.relative_to(folder)
        jobs = sorted(p.name for p in folder.parent.glob("*") if (p / inside).is_file())
        there = f"there are {', '.join(jobs)}" if jobs else "there are none yet"
        raise DataError(
            f"data.job: expected a labelled job, met {folder.name!r} without output "
            f"manifest; {there}; label one with python -m cxr.label job=…"
        )
    cohort = examples.read(manifest, pacs, attribute)
    if check is not None:
        check(cohort)
    built = cache.build(
        cache_folder, cohort.instances, pacs.retrieve,
        digest=pacs.digest,
        image_size=(image_size[0], image_size[1]), preset=preset, workers=workers,
    )  # fmt: skip
    cohort = cohort.without(built.unreadable)
    uids = [example.sop_instance_uid for example in cohort.examples]
    hashes = built.pixel_hashes(uids)
    trained, known = _numbers(cohort, policy, hashes)
    return Material(
        cohort, built.images, built.rows(uids),
        trained.values, trained.weights, known.values, known.mask, known.uncertain, hashes,
        manifest_sha256=hashlib.sha256(manifest.read_bytes()).hexdigest(), policy=policy,
    )  # fmt: skip


def _numbers(
    cohort: Cohort, policy: Policy, hashes: Sequence[str]
) -> tuple[targets.Targets, targets.Truth]:
    states = [example.states for example in cohort.examples]
    probabilities = [example.probabilities for example in cohort.examples]
    agreed = None
    if policy.confidence:
        votes = [example.votes for example in cohort.examples]
        agreed, _ = targets.agreement(votes, probabilities, len(cohort.names))
    trained = targets.to_targets(
        states, policy, cohort.labels, keys=hashes, probabilities=probabilities, agreement=agreed
    )
    return trained, targets.to_truth(states, policy, cohort.labels)
