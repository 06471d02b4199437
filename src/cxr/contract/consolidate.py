"""From several workers' answers to one state per finding.

Runs inside the post-annotation Lambda as well as on this machine, so it imports nothing outside
the standard library. One object at a time: what needs the whole job lives in `labeling`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cxr.contract import annotation, foreign, labels, manifest, measures
from cxr.contract.annotation import Annotation, Roi
from cxr.contract.labels import ANSWERS, LabelSet, State
from cxr.errors import AnnotationError, LabelError

FROM_ALL = "annotationsFromAllWorkers"
"""Key that other jobs' readers expect, holding every answer as submitted."""


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
    won = winner(votes)
    return State.UNCERTAIN if won is None else won


def winner(votes: Sequence[State]) -> State | None:
    """Give what `majority` takes, or None where no state has a majority.

    Raises:
        AnnotationError: As `majority`.
    """
    return _most(_checked(votes))


def _most(votes: Sequence[State]) -> State | None:
    state, count = Counter(votes).most_common(1)[0]
    return state if 2 * count > len(votes) else None


def any_present(votes: Sequence[State]) -> State:
    """Take present if anybody said so, for where a miss costs more than a false alarm.

    Args:
        votes: As for `majority`.

    Returns:
        Present; else uncertain if anybody was; else absent.

    Raises:
        AnnotationError: As `majority`.

    >>> any_present([State.ABSENT, State.PRESENT, State.ABSENT])
    <State.PRESENT: 'present'>
    """
    said = set(_checked(votes))
    return next(s for s in (State.PRESENT, State.UNCERTAIN, State.ABSENT) if s in said)


def _checked(votes: Sequence[State]) -> Sequence[State]:
    if not votes or any(vote not in ANSWERS for vote in votes):
        raise AnnotationError(f"expected present, absent or uncertain votes, met {list(votes)}")
    return votes


def consolidate(
    answers: Mapping[str, str],
    label_set: LabelSet,
    read: Callable[[str, LabelSet], Annotation] | None = None,
) -> dict[str, Any]:
    """Make the label attribute of one data object from all its workers' answers.

    A skip is no answer; where at least half of the workers skip it or call it unfit, the object
    is unusable. `No Finding` is never voted on: it follows from the other consolidated findings.

    Args:
        answers: Worker ID → the form's content, as Ground Truth passes it: a JSON object whose
            `annotation` is our JSON as a string.
        label_set: What was asked.
        read: Reads one answer's content; None is `read_content`.

    Returns:
        The label attribute: `schema`, `findings` in label order, `rois`, `usable`, `reasons`,
        `warnings`, and `annotationsFromAllWorkers` as submitted.

    Raises:
        AnnotationError: No answers, or one that cannot be understood.
    """
    if not answers:
        raise AnnotationError("expected at least one worker's answer, met none")
    reads = read or read_content
    parsed = {worker: reads(content, label_set) for worker, content in answers.items()}
    given = {worker: a for worker, a in parsed.items() if not a.skipped}
    unfit = [a for a in parsed.values() if a.skipped or not a.usable]
    usable = 2 * len(unfit) < len(parsed)
    findings = _findings(given, label_set)
    states = {item["label"]: State(item["state"]) for item in findings}
    return {
        "schema": manifest.SCHEMA,
        "findings": findings,
        "rois": [roi_document(roi, worker, a) for worker, a in given.items() for roi in a.rois],
        "usable": usable,
        "reasons": [a.reason for a in unfit if a.reason],
        "warnings": label_set.contradictions(states),
        FROM_ALL: [
            {"workerId": worker, "annotationData": {"content": content}}
            for worker, content in answers.items()
        ],
    }


def completed(line: Mapping[str, Any], attribute: str | None = None) -> dict[str, Any]:
    """Consolidate, on reading, label attributes that hold every worker's answer and no more.

    Other jobs' post-annotation Lambdas pass answers on under `annotationsFromAllWorkers` without
    consolidating them. Answers of the published sample's page are read too (`foreign`).

    Args:
        line: Of an output manifest.
        attribute: The only one that matters; None completes all.

    Returns:
        The output line, with such attributes consolidated and all else as it was.

    Raises:
        AnnotationError: An answer cannot be understood, or is not in the line.
        LabelError: Neither the line nor its answers say what was asked.
    """
    whole = dict(line)
    for name in manifest.attributes(line):
        value = line[name]
        if attribute in (None, name) and _is_collected(value):
            try:
                whole[name] = from_all(value[FROM_ALL], line)
            except (AnnotationError, LabelError) as error:
                raise type(error)(f"{manifest.source(line)}: {name}: {error}") from error
    return whole


def _is_collected(value: object) -> bool:
    return isinstance(value, dict) and "findings" not in value and bool(value.get(FROM_ALL))


def from_all(given: object, line: Mapping[str, Any]) -> dict[str, Any]:
    """Consolidate what stands under `annotationsFromAllWorkers`, of our page or of the sample's.

    Args:
        given: The workers' answers.
        line: That says what was asked; without `labels`, the answers do.

    Raises:
        AnnotationError: An answer cannot be understood, or is not there.
        LabelError: Neither the line nor its answers say what was asked.
    """
    answers = {}
    for i, item in enumerate(given if isinstance(given, list) else ()):
        data = item.get("annotationData") if isinstance(item, dict) else None
        if not isinstance(data, dict) or not isinstance(item.get("workerId"), str):
            raise AnnotationError("expected a worker and an answer", f"{FROM_ALL}[{i}]")
        content = data.get("content")
        if content is None:
            raise AnnotationError("expected the answer itself", f"{FROM_ALL}[{i}].annotationData")
        answers[item["workerId"]] = content if isinstance(content, str) else json.dumps(content)
    if "labels" in line:
        label_set = labels.from_data_object(line)
    elif (found := asked(answers.values())) is not None:
        label_set = found
    else:
        raise LabelError('expected "labels" in the line, or answers that name their findings')
    return consolidate(answers, label_set, read_any)


def asked(contents: Iterable[str]) -> LabelSet | None:
    """Say what was asked by what was answered: the names that most answers have, in their order.

    Returns:
        None where no answer names its findings, as where all are skips.
    """
    found = Counter(names for content in contents if (names := _names(content)))
    for names, _ in found.most_common():
        try:
            return labels.from_names(names)
        except LabelError:
            continue
    return None


def _names(content: str) -> tuple[str, ...]:
    try:
        form = json.loads(content)
        if foreign.is_one(form):
            return foreign.names(form)
        findings = json.loads(form[annotation.FIELD])["findings"]
        return tuple(str(item["label"]) for item in findings)
    except (ValueError, RecursionError, TypeError, KeyError):
        return ()


def read_any(content: str, label_set: LabelSet) -> Annotation:
    """Read a worker's form content, of our page or of the published sample's.

    Raises:
        AnnotationError: It is neither.
    """
    form = _form(content)
    return foreign.read(form, label_set) if foreign.is_one(form) else _read(form, label_set)


def read_content(content: str, label_set: LabelSet) -> Annotation:
    """Read a worker's form content: a JSON object whose `annotation` is our JSON as a string.

    Raises:
        AnnotationError: It is not.
    """
    return _read(_form(content), label_set)


def _form(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError, TypeError) as error:
        raise AnnotationError(f'expected a form with "{annotation.FIELD}"', "content") from error


def _read(form: Any, label_set: LabelSet) -> Annotation:
    try:
        text = form[annotation.FIELD]
    except (TypeError, KeyError) as error:
        raise AnnotationError(f'expected a form with "{annotation.FIELD}"', "content") from error
    if not isinstance(text, str):
        raise AnnotationError(f"expected a JSON string, met {type(text).__name__}", "annotation")
    return annotation.parse(text, label_set)


def roi_document(roi: Roi, worker: str, answer: Annotation) -> dict[str, Any]:
    """Give one ROI as the label attribute holds it: as drawn, by whom, how large."""
    size = measures.measure(roi, answer.document.get("image"))
    return annotation.roi_document(roi) | {"workerId": worker, "measure": size}


def _findings(given: Mapping[str, Annotation], label_set: LabelSet) -> list[dict[str, Any]]:
    states: dict[str, State] = {}
    items: dict[str, dict[str, Any]] = {}
    for name in label_set.names:
        votes = [a.findings[name] for a in given.values()]
        won = _most(votes) if votes else State.NOT_ASKED
        states[name] = State.UNCERTAIN if won is None else won
        count = Counter(votes)
        items[name] = {
            "label": name,
            "state": str(states[name]),
            "probability": None,
            "votes": {str(state): count[state] for state in ANSWERS},
            "reason": "no_majority" if won is None else None,
        }
    if label_set.no_finding:
        state = labels.follow_no_finding(label_set, states)
        items[label_set.no_finding] |= {"state": str(state), "reason": "follows_from_findings"}
    return list(items.values())
