"""States of findings → targets with weights, and truth: where a state becomes a number.

Targets are what training leans towards, as a policy says; truth is what scoring holds to, and
no policy makes an uncertain answer true or false there. Masked is not absent: a masked entry
takes no part in loss, thresholds or metrics.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr.contract.labels import LabelSet, Silence, State
from cxr.errors import ConfigError, DataError, LabelError
from cxr.learning import consistency

Uncertain = Literal["ignore", "ones", "zeros", "soft"]
Table = Sequence[Sequence[float | None]]

_CODES = {state: code for code, state in enumerate(State)}
_PRESENT, _ABSENT, _UNCERTAIN, _NOT_MENTIONED, _NOT_ASKED = (
    _CODES[state]
    for state in (
        State.PRESENT, State.ABSENT, State.UNCERTAIN, State.NOT_MENTIONED, State.NOT_ASKED,
    )
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """What becomes of one finding's states that are no clear answer."""

    uncertain: Uncertain
    not_mentioned: Silence


@dataclass(frozen=True)
class Policy:
    """What is made of states that are no clear answer; the keys of conf/targets.

    Attributes:
        uncertain: `ignore` masks, `ones` and `zeros` take a side, `soft` draws from `soft`.
        not_mentioned: `zeros` where a text's silence means absent, `ignore` where it means
            nothing; None: as the label set says.
        per_finding: Label → `uncertain` and `not_mentioned` where they differ, None as for all.
        soft: Lowest and highest target of an uncertain entry under `soft`.
        smoothing: What a target of 0 or 1 moves towards the other.
        probabilities: Whether consolidated probabilities, where there are some, are targets.
        confidence: Whether entries weigh as much as their readers agree.
        consistent: Whether silence about a parent follows its children, as what a run answers
            then does (`predictor.RunRecord.consistent`).
        seed: Of the draws of `soft`.
    """

    uncertain: Uncertain = "ignore"
    not_mentioned: Silence | None = None
    per_finding: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    soft: tuple[float, float] = (0.55, 0.85)
    smoothing: float = 0.0
    probabilities: bool = False
    confidence: bool = False
    consistent: bool = True
    seed: int = 42

    def for_label(self, name: str, label_set: LabelSet) -> Rule:
        """Say what holds for one label of a label set.

        >>> opacity = LabelSet("one", ("Lung Opacity",), aliases={"Opacity": "Lung Opacity"})
        >>> Policy(per_finding={"opacity": {"uncertain": "ones"}}).for_label(
        ...     "Lung Opacity", opacity
        ... )
        Rule(uncertain='ones', not_mentioned='zeros')
        """
        own: dict[str, Any] = {}
        for label, differs in self.per_finding.items():
            if _canonical(label, label_set) == name:
                own |= {key: value for key, value in differs.items() if value is not None}
        return Rule(
            own.get("uncertain", self.uncertain),
            own.get("not_mentioned", self.not_mentioned or label_set.not_mentioned),
        )

    def told(self) -> dict[str, str]:
        """Say it as name → value, for people; what is as ever is left out."""
        said: dict[str, str] = {
            "uncertain": self.uncertain,
            "not_mentioned": self.not_mentioned or "as the label set says",
        }
        for label, differs in self.per_finding.items():
            said |= {f"{key} of {label}": v for key, v in differs.items() if v is not None}
        if "soft" in said.values():
            said["soft"] = f"{self.soft[0]:g} to {self.soft[1]:g}"
        if self.smoothing:
            said["smoothing"] = f"{self.smoothing:g}"
        if self.probabilities:
            said["targets"] = "consolidated probabilities"
        if self.confidence:
            said["weights"] = "how far readers agree"
        if not self.consistent:
            said["parents"] = "as labelled, and outputs are not made consistent"
        return said


@dataclass(frozen=True)
class Targets:
    """What training leans towards.

    Attributes:
        values: (N, L) float32 in [0, 1]; 0 where masked.
        weights: (N, L) float32, 0 where masked, at most 1.
    """

    values: NDArray[np.float32]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """What scoring holds to.

    Attributes:
        values: (N, L) float32 of 0 and 1; 0 where masked.
        mask: (N, L) bool, True where the truth is known.
        uncertain: (N, L) bool, True where somebody looked and could not say; masked always.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    uncertain: NDArray[np.bool_]


def parse(document: Mapping[str, Any]) -> Policy:
    """Read a policy as `run.json` or a config holds it; what is left out is as by default.

    Raises:
        ConfigError: A key is none of a policy's.
    """
    given = dict(document)
    if "soft" in given:
        low, high = given["soft"]
        given["soft"] = (float(low), float(high))
    try:
        return Policy(**given)
    except TypeError as error:
        raise ConfigError(f"targets: expected the keys of conf/targets, met {error}") from error


def check(policy: Policy, label_set: LabelSet) -> None:
    """Refuse a policy that names a finding which is not asked about.

    Raises:
        ConfigError: It does; names the nearest.
    """
    for label in policy.per_finding:
        try:
            label_set.canonical(label)
        except LabelError as error:
            raise ConfigError(f"targets.per_finding: {error}") from error


def to_targets(
    states: Sequence[Sequence[State]],
    policy: Policy,
    label_set: LabelSet,
    *,
    keys: Sequence[str],
    probabilities: Table | None = None,
    agreement: NDArray[np.floating[Any]] | None = None,
) -> Targets:
    """Turn states into what is trained on; `not_asked` is masked under every policy.

    An entry that is likeliest uncertain follows `policy.uncertain` whatever its probability: what
    is likely uncertain is unlikely present, and not for being likely absent.

    Args:
        states: N rows of L states, in label order.
        policy: What uncertain and not_mentioned become.
        label_set: Whose labels these are.
        keys: (N) hashes of the pictures; by them `soft` draws, whatever the order of the rows.
        probabilities: N rows of L probabilities of being present, None where there is none; an
            empty row has none. Used with `policy.probabilities`.
        agreement: (N, L) from `agreement`. Used with `policy.confidence`.

    Raises:
        DataError: A row has another number of states than there are labels.

    >>> two = LabelSet("two", ("Edema", "Mass"))
    >>> made = to_targets([[State.PRESENT, State.UNCERTAIN]], Policy(), two, keys=["a"])
    >>> made.values.tolist(), made.weights.tolist()
    ([[1.0, 0.0]], [[1.0, 0.0]])
    """
    codes = _codes(states, policy, label_set)
    low, high = policy.smoothing, 1 - policy.smoothing
    values = np.where(codes == _PRESENT, high, low)
    kept = (codes == _PRESENT) | (codes == _ABSENT)
    for k, name in enumerate(label_set.names):
        rule = policy.for_label(name, label_set)
        if rule.not_mentioned == "zeros":
            kept[:, k] |= codes[:, k] == _NOT_MENTIONED
        doubted = np.flatnonzero(codes[:, k] == _UNCERTAIN)
        if rule.uncertain == "ignore" or not len(doubted):
            continue
        kept[doubted, k] = True
        if rule.uncertain == "soft":
            low_soft, high_soft = policy.soft
            draws = np.array([_draw(policy.seed, keys[row], name) for row in doubted.tolist()])
            values[doubted, k] = low_soft + (high_soft - low_soft) * draws
        else:
            values[doubted, k] = high if rule.uncertain == "ones" else low
    if policy.probabilities and probabilities is not None:
        given = _floats(probabilities, codes.shape)
        told = ~np.isnan(given) & ((codes == _PRESENT) | (codes == _ABSENT))
        values[told] = given[told]
    weights = kept.astype(np.float32)
    if policy.confidence and agreement is not None:
        weights *= agreement.astype(np.float32)
    return Targets(np.where(weights > 0, values, 0).astype(np.float32), weights)


def to_truth(states: Sequence[Sequence[State]], policy: Policy, label_set: LabelSet) -> Truth:
    """Turn states into what is scored: an uncertain answer is masked, whatever the policy.

    Args:
        states: N rows of L states, in label order.
        policy: Says what silence means, also of parents, as in training.
        label_set: Whose labels these are.

    Raises:
        DataError: As `to_targets`.
    """
    codes = _codes(states, policy, label_set)
    mask = (codes == _PRESENT) | (codes == _ABSENT)
    for k, name in enumerate(label_set.names):
        if policy.for_label(name, label_set).not_mentioned == "zeros":
            mask[:, k] |= codes[:, k] == _NOT_MENTIONED
    return Truth((codes == _PRESENT).astype(np.float32), mask, codes == _UNCERTAIN)


def agreement(
    votes: Sequence[Sequence[Sequence[int]]], probabilities: Table, labels: int
) -> tuple[NDArray[np.float32], bool]:
    """Say how far the readers of each entry agree.

    Where at least two answered: how likely any two of them said the same, Fleiss's P_i (1971,
    "Measuring nominal scale agreement among many raters"). Else, where consolidation gives a
    probability p of being present: how likely two draws from it are alike, p² + (1 - p)², which
    P_i becomes with many readers. Else 1: nobody disagreed.

    Args:
        votes: N rows of L counts, of present, absent and uncertain; an empty row has none.
        probabilities: As for `to_targets`.
        labels: L.

    Returns:
        (N, L) from 0 to 1, and whether any entry says something.

    >>> two_of_three, said = agreement([[(2, 1, 0)]], [()], 1)
    >>> round(float(two_of_three[0, 0]), 3), said
    (0.333, True)
    """
    counts = np.zeros((len(votes), labels, 3))
    for row, given in enumerate(votes):
        if given:
            counts[row] = given
    readers = counts.sum(axis=2)
    p = _floats(probabilities, readers.shape)
    several, likely = readers >= 2, ~np.isnan(p)
    pairs = np.maximum(readers * (readers - 1), 1)
    of_votes = (counts * (counts - 1)).sum(axis=2) / pairs
    of_chance = np.where(likely, p**2 + (1 - p) ** 2, 1.0)
    found = np.where(several, of_votes, of_chance).astype(np.float32)
    return found, bool((several | likely).any())


def capped(
    weights: NDArray[np.float32], patient_ids: Sequence[str], cap: float | None
) -> NDArray[np.float32]:
    """Let a patient's images weigh together at most as much as `cap` images.

    Args:
        weights: (N, L)
        patient_ids: (N)
        cap: Images; None caps nothing.

    Returns:
        (N, L), a patient's rows scaled alike.

    >>> capped(np.ones((3, 1), np.float32), ["a", "a", "b"], 1).ravel().tolist()
    [0.5, 0.5, 1.0]
    """
    if cap is None:
        return weights
    _, which, images = np.unique(np.asarray(patient_ids), return_inverse=True, return_counts=True)
    scale = np.minimum(1, cap / images)[which]
    return (weights * scale[:, None]).astype(np.float32)


def _codes(
    states: Sequence[Sequence[State]], policy: Policy, label_set: LabelSet
) -> NDArray[np.uint8]:
    """Give (N, L) codes of states, silence replaced by what other labels say of it."""
    width = len(label_set.names)
    for number, row in enumerate(states):
        if len(row) != width:
            raise DataError(f"row {number}: expected {width} states, met {len(row)}")
    flat = (_CODES[state] for row in states for state in row)
    codes = np.fromiter(flat, np.uint8, len(states) * width).reshape(len(states), width)
    rules = consistency.rules(label_set)
    for parent, below in rules.parents if policy.consistent else ():
        silent = codes[:, parent] == _NOT_MENTIONED
        for state in (_UNCERTAIN, _PRESENT):  # as reports are mined: what is surer comes last
            codes[silent & (codes[:, list(below)] == state).any(axis=1), parent] = state
    if rules.no_finding is not None:
        said, excluded = codes[:, rules.no_finding], list(rules.excluded)
        found = (codes[:, excluded] == _PRESENT).any(axis=1)
        said[found & (said == _NOT_MENTIONED)] = _ABSENT
        silence = (said == _PRESENT)[:, None] & (codes[:, excluded] == _NOT_MENTIONED)
        codes[:, excluded] = np.where(silence, _ABSENT, codes[:, excluded])
    return codes


def _canonical(label: str, label_set: LabelSet) -> str | None:
    """Find a label that another label set may lack, as where a run is scored on another job."""
    try:
        return label_set.canonical(label)
    except LabelError:
        return None


def _draw(seed: int, key: str, name: str) -> float:
    """Draw evenly from [0, 1)."""
    digest = hashlib.sha256(f"{seed}\0{key}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _floats(table: Table, shape: tuple[int, ...]) -> NDArray[np.float64]:
    found = np.full(shape, np.nan)
    for row, given in enumerate(table):
        if given:
            found[row] = [np.nan if p is None else p for p in given]
    return found
