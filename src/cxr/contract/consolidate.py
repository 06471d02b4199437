"""From several workers' answers to one state per finding.

Runs inside the post-annotation Lambda as well as on this machine, so it imports nothing outside
the standard library. One object at a time: what needs the whole job lives in `labeling`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cxr.contract import annotation, labels, manifest
from cxr.contract.annotation import Annotation
from cxr.contract.labels import ANSWERS, LabelSet, State
from cxr.errors import AnnotationError

_ANSWERS = "annotationsFromAllWorkers"


def majority(votes: Sequence[State]) -> State:
    """Take the state that more than half of those who answered gave to one finding.

    Present, uncertain and absent count as three answers: two hedges against one certainty stay
    a hedge, rather than a certainty by dropping the doubters.

    Args:
        votes: One state per worker who answered, in any order; present, absent or uncertain.

    Returns:
        That state; uncertain where none has a majority.

    Raises:
        AnnotationError: Nobody answered, or a vote is not an answer.

    >>> majority([State.PRESENT, State.UNCERTAIN, State.UNCERTAIN])
    <State.UNCERTAIN: 'uncertain'>
    """
    winner = _winner(votes)
    return State.UNCERTAIN if winner is None else winner


def _winner(votes: Sequence[State]) -> State | None:
    if not votes or any(vote not in ANSWERS for vote in votes):
        raise AnnotationError(f"expected present, absent or uncertain votes, met {list(votes)}")
    state, count = Counter(votes).most_common(1)[0]
    return state if 2 * count > len(votes) else None


def consolidate(answers: Mapping[str, str], label_set: LabelSet) -> dict[str, Any]:
    """Make the label attribute of one data object from all its workers' answers.

    A skip is no answer; where at least half of the workers skip it or call it unfit, the object
    is unusable. `No Finding` is never voted on: it follows from the other consolidated findings.

    Args:
        answers: Worker ID → the form's content, as Ground Truth passes it: a JSON object whose
            `annotation` is our JSON as a string.
        label_set: What was asked.

    Returns:
        The label attribute: `schema`, `findings` in label order, `rois`, `usable`, `reasons`,
        `warnings`, and `annotationsFromAllWorkers` as submitted.

    Raises:
        AnnotationError: No answers, or one that cannot be understood.
    """
    if not answers:
        raise AnnotationError("expected at least one worker's answer, met none")
    parsed = {worker: read_content(content, label_set) for worker, content in answers.items()}
    given = {worker: a for worker, a in parsed.items() if not a.skipped}
    unfit = [a for a in parsed.values() if a.skipped or not a.usable]
    usable = 2 * len(unfit) < len(parsed)
    findings = _findings(given, label_set)
    states = {item["label"]: State(item["state"]) for item in findings}
    return {
        "schema": manifest.SCHEMA,
        "findings": findings,
        "rois": [
            annotation.roi_document(roi) | {"workerId": worker}
            for worker, a in given.items()
            for roi in a.rois
        ],
        "usable": usable,
        "reasons": [a.reason for a in unfit if a.reason],
        "warnings": label_set.contradictions(states),
        _ANSWERS: [
            {"workerId": worker, "annotationData": {"content": content}}
            for worker, content in answers.items()
        ],
    }


def completed(line: Mapping[str, Any]) -> dict[str, Any]:
    """Consolidate, on reading, label attributes that hold every worker's answer and no more.

    Other jobs' post-annotation Lambdas pass answers on under `annotationsFromAllWorkers` without
    consolidating them.

    Returns:
        The output line, with such attributes consolidated and all else as it was.

    Raises:
        AnnotationError: An answer cannot be understood.
        LabelError: The line carries no label set.
    """
    whole = dict(line)
    for name in manifest.attributes(line):
        value = line[name]
        if isinstance(value, dict) and "findings" not in value and value.get(_ANSWERS):
            answers = {a["workerId"]: a["annotationData"]["content"] for a in value[_ANSWERS]}
            whole[name] = consolidate(answers, labels.from_data_object(line))
    return whole


def read_content(content: str, label_set: LabelSet) -> Annotation:
    """Read a worker's form content: a JSON object whose `annotation` is our JSON as a string.

    Raises:
        AnnotationError: It is not.
    """
    try:
        form = json.loads(content)
        text = form[annotation.FIELD]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise AnnotationError(f'expected a form with "{annotation.FIELD}"', "content") from error
    if not isinstance(text, str):
        raise AnnotationError(f"expected a JSON string, met {type(text).__name__}", "annotation")
    return annotation.parse(text, label_set)


def _findings(given: Mapping[str, Annotation], label_set: LabelSet) -> list[dict[str, Any]]:
    states: dict[str, State] = {}
    items: dict[str, dict[str, Any]] = {}
    for name in label_set.names:
        votes = [a.findings[name] for a in given.values()]
        winner = _winner(votes) if votes else State.NOT_ASKED
        states[name] = State.UNCERTAIN if winner is None else winner
        count = Counter(votes)
        items[name] = {
            "label": name,
            "state": str(states[name]),
            "probability": None,
            "votes": {str(state): count[state] for state in ANSWERS},
            "reason": "no_majority" if winner is None else None,
        }
    if label_set.no_finding:
        state = labels.follow_no_finding(label_set, states)
        items[label_set.no_finding] |= {"state": str(state), "reason": "follows_from_findings"}
    return list(items.values())
