"""From many answers to one label, over a whole job, after whichever backend collected it.

The post-annotation Lambda sees one data object at a time and takes the majority; what needs the
whole job, or an adjudicator, is done here, so that a local job and one of Ground Truth end alike.
Everything that anybody said stays in the label attribute, whatever the rule makes of it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from cxr.contract import consolidate, labels
from cxr.contract.annotation import Annotation
from cxr.contract.labels import LabelSet, State
from cxr.errors import JobError
from cxr.labeling import dawid_skene, regions, votes
from cxr.labeling.dawid_skene import Fit
from cxr.labeling.votes import ORDER, Votes

ANSWERS = consolidate.FROM_ALL
RULES = ("majority", "any_present", "dawid_skene", "adjudicated")
Attribute = Mapping[str, Any]
"""The label attribute of one data object."""


class Decision(Protocol):
    """What an adjudicator said of one data object: `content` as a reader's, `decided_at` in s.

    It decides the findings in `disputed` and no others; None is all that are in dispute now.
    """

    @property
    def worker_id(self) -> str: ...  # noqa: D102
    @property
    def content(self) -> str: ...  # noqa: D102
    @property
    def decided_at(self) -> float: ...  # noqa: D102
    @property
    def disputed(self) -> Collection[str] | None: ...  # noqa: D102


@dataclass(frozen=True)
class Consolidated:
    """A whole job's labels.

    Attributes:
        attributes: Data object → its label attribute.
        told: The votes that readers were weighed by; None under other rules.
        fits: What was estimated of each finding and reader; empty under other rules.
    """

    attributes: dict[str, dict[str, Any]]
    told: Votes | None = None
    fits: Sequence[Fit] = ()


@dataclass(frozen=True)
class _Said:
    """What the rule makes of one finding on one image."""

    state: State
    reason: str | None = None
    probability: float | None = None


def apply(
    attributes: Mapping[str, Attribute],
    rule: str,
    label_set: LabelSet,
    decisions: Mapping[str, Decision] | None = None,
) -> Consolidated:
    """Consolidate a collected job by its rule.

    Where the rule is `adjudicated`, findings in dispute are as decided; without a decision, where
    it is a skip, or where they were not yet in dispute when it was taken, they are by majority,
    with the reason `not_adjudicated`. What readers agree on stays even then, with a warning where
    the adjudicator differs; whether the image is usable is hers to say, where she decided on any
    of it. Under other rules a decision is kept, and decides nothing.

    Args:
        attributes: Data object → label attribute as the post-annotation Lambda made it, or as
            this function did before, or only everybody's answers; those without any stay as
            they are.
        rule: One of `RULES`.
        label_set: What was asked.
        decisions: Data object → the adjudicator's.

    Returns:
        Label attributes of schema `cxr-consolidated/1`. New beside the Lambda's keys:
        `consensus` and `unmatched` of the regions (see `regions.consensus`), and `adjudication`
        where there is a decision, whose ROIs stand among `rois` with `adjudicator` true.

    Raises:
        JobError: There is no such rule.
        AnnotationError: An answer or a decision cannot be understood.
    """
    if rule not in RULES:
        raise JobError(f"job.consolidation: expected one of {', '.join(RULES)}, met {rule!r}")
    answered = {k: _as_collected(a, label_set) for k, a in attributes.items() if a.get(ANSWERS)}
    told, fits = _weigh(answered, label_set) if rule == "dawid_skene" else (None, [])
    best = _likeliest(fits, len(answered))
    done = {key: dict(attribute) for key, attribute in attributes.items()}
    for u, (key, attribute) in enumerate(answered.items()):
        estimated = _by_estimate(attribute, fits, best[u]) if told else None
        decision = (decisions or {}).get(key)
        done[key] = _consolidated(attribute, rule, label_set, decision, estimated)
    return Consolidated(done, told, fits)


def disputes(attribute: Attribute, label_set: LabelSet) -> list[str]:
    """Name the findings of one data object on which its workers' answers differ.

    Where some skipped it and others answered, every finding is in dispute. `No Finding` never
    is: it follows from the others.

    Args:
        attribute: Its label attribute, consolidated by whatever rule.
        label_set: What was asked; the order of the result.

    >>> says = {"findings": [{"label": "Edema", "votes": {"present": 2, "absent": 1}}]}
    >>> disputes(says, LabelSet("one", ("Edema",)))
    ['Edema']
    """
    given = {item["label"]: item["votes"] for item in attribute["findings"]}
    if 0 < _answered(attribute) < len(attribute.get(ANSWERS, ())):
        return list(label_set.findings)
    return [
        name
        for name in label_set.findings
        if sum(count > 0 for count in given.get(name, {}).values()) > 1
    ]


def _answered(attribute: Attribute) -> int:
    """Count the workers who did not skip."""
    return max((sum(item["votes"].values()) for item in attribute["findings"]), default=0)


def _answers(attribute: Attribute) -> dict[str, str]:
    return {a["workerId"]: a["annotationData"]["content"] for a in attribute[ANSWERS]}


def _as_collected(attribute: Attribute, label_set: LabelSet) -> Attribute:
    """Take back an earlier decision, which may be another now; begin where nobody has yet."""
    if "adjudication" in attribute or "findings" not in attribute:
        return consolidate.consolidate(_answers(attribute), label_set)
    return attribute


def _weigh(attributes: Mapping[str, Attribute], label_set: LabelSet) -> tuple[Votes, list[Fit]]:
    answers = {
        key: {
            worker: consolidate.read_content(content, label_set).findings
            for worker, content in _answers(attribute).items()
        }
        for key, attribute in attributes.items()
    }
    told = votes.gather(answers, label_set.findings)
    return told, dawid_skene.fit(told)


def _consolidated(
    attribute: Attribute,
    rule: str,
    label_set: LabelSet,
    decision: Decision | None,
    said: Mapping[str, _Said] | None,
) -> dict[str, Any]:
    decided = consolidate.read_content(decision.content, label_set) if decision else None
    open_ = set(disputes(attribute, label_set)) if rule == "adjudicated" else set()
    heard = open_ & set(open_ if not decision or decision.disputed is None else decision.disputed)
    if said is None:
        said = _by_rule(attribute, rule, open_, {} if decided is None else _about(decided, heard))
    made = _written(attribute, label_set, said)
    if decision is not None and decided is not None:
        _keep(made, decision, decided)
        if heard:
            _heed(made, decided, set(label_set.findings) - open_)
    return made


def _about(decided: Annotation, names: Collection[str]) -> dict[str, State]:
    """Give what was decided of some findings; nothing where it is a skip."""
    return {name: state for name, state in decided.findings.items() if name in names}


def _by_rule(
    attribute: Attribute, rule: str, open_: Collection[str], decided: Mapping[str, State]
) -> dict[str, _Said]:
    """Say what each finding is by a rule that needs this data object alone.

    Args:
        attribute: As collected.
        rule: Not `dawid_skene`.
        open_: The findings in dispute, where an adjudicator is to decide.
        decided: What she decided of them.
    """
    said = {}
    for item in attribute["findings"]:
        name = item["label"]
        cast = [state for state in labels.ANSWERS for _ in range(item["votes"][state])]
        won = consolidate.winner(cast) if cast else State.NOT_ASKED
        said[name] = _Said(won or State.UNCERTAIN, None if won else "no_majority")
        if rule == "any_present" and cast:
            said[name] = _Said(consolidate.any_present(cast))
        elif name in decided:
            said[name] = _Said(decided[name], "adjudicated")
        elif name in open_:
            said[name] = _Said(said[name].state, "not_adjudicated")
    return said


def _by_estimate(
    attribute: Attribute, fits: Sequence[Fit], best: Sequence[tuple[int, float]]
) -> dict[str, _Said]:
    """Say what each finding is, given its likeliest state and how likely present is."""
    cast = {item["label"]: item["votes"] for item in attribute["findings"]}
    said = {}
    for fit, (likeliest, present) in zip(fits, best, strict=True):
        given = {State(state): count for state, count in cast[fit.label].items() if count}
        if not given:
            said[fit.label] = _Said(State.NOT_ASKED)
        elif fit.fell_back:
            state = consolidate.majority([s for s, count in given.items() for _ in range(count)])
            said[fit.label] = _Said(state, f"dawid_skene_fell_back: {fit.fell_back}")
        elif len(given) == 1 < sum(given.values()) and ORDER[likeliest] not in given:
            # however doubtful its readers, a label that all of them deny could not be defended
            said[fit.label] = _Said(next(iter(given)), "unanimous", present)
        else:
            said[fit.label] = _Said(ORDER[likeliest], "dawid_skene", present)
    return said


def _likeliest(fits: Sequence[Fit], count: int) -> list[tuple[tuple[int, float], ...]]:
    """Give, per data object and finding, the likeliest state and how likely present is."""
    found = []
    for fit in fits:
        posterior = np.nan_to_num(fit.posterior)  # not a number where nobody answered
        present = posterior[:, ORDER.index(State.PRESENT)].round(6)
        found.append(zip(posterior.argmax(axis=1).tolist(), present.tolist(), strict=True))
    return list(zip(*found, strict=True)) if found else [()] * count


def _written(
    attribute: Attribute, label_set: LabelSet, said: Mapping[str, _Said]
) -> dict[str, Any]:
    """Write what was said into a copy of a label attribute."""
    states = {name: one.state for name, one in said.items()}
    if label_set.no_finding:
        state = labels.follow_no_finding(label_set, states)
        states[label_set.no_finding] = state
        said = {**said, label_set.no_finding: _Said(state, "follows_from_findings")}
    shared, alone = regions.consensus(attribute.get("rois", ()), _answered(attribute))
    return {
        **attribute,
        "findings": [
            item
            | {
                "state": str(said[item["label"]].state),
                "probability": said[item["label"]].probability,
                "reason": said[item["label"]].reason,
            }
            for item in attribute["findings"]
        ],
        "warnings": label_set.contradictions(states),
        "consensus": shared,
        "unmatched": alone,
    }


def _keep(attribute: dict[str, Any], decision: Decision, decided: Annotation) -> None:
    """Put a decision beside the originals."""
    when = datetime.fromtimestamp(decision.decided_at, UTC)
    named = {} if decision.disputed is None else {"disputed": list(decision.disputed)}
    attribute["adjudication"] = {
        "workerId": decision.worker_id,
        "decidedAt": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        **named,
        "annotationData": {"content": decision.content},
    }
    drawn = [consolidate.roi_document(roi, decision.worker_id, decided) for roi in decided.rois]
    attribute["rois"] = [*attribute["rois"], *(roi | {"adjudicator": True} for roi in drawn)]


def _heed(attribute: dict[str, Any], decided: Annotation, agreed: Collection[str]) -> None:
    """Let the adjudicator say whether the image is usable, and note where she differs from all."""
    attribute["usable"] = decided.usable and not decided.skipped
    if not attribute["usable"] and decided.reason:
        attribute["reasons"] = [*attribute["reasons"], decided.reason]
    for item in attribute["findings"]:
        name, state = item["label"], decided.findings.get(item["label"])
        if state and name in agreed and state != item["state"]:
            attribute["warnings"].append(
                f"{name}: all readers say {item['state']}, the adjudicator says {state}"
            )
