"""What stands around a mention in its sentence, and what that makes of it.

A cue (no, may, history of, has resolved) reaches as far as its clause, and over the parts of a
list. "No effusion, pneumothorax or edema" denies three findings, "no pneumothorax, small effusion"
denies one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cxr.contract.labels import State
from cxr.labeling.phrases import COMMA, Met

_NEXT = 3
"""Words between a cue that only reaches its neighbour and a mention, at most."""
_OR = 8
"""Words between two findings that stand for each other, at most: atelectasis or pneumonia."""
_SEEN = 3
"""Words behind a verb within which `seen` makes it none of a new statement, at most."""


class _Reach(NamedTuple):
    """How far a cue goes over the parts of a list."""

    commas: bool
    ands: bool


_REACH = {
    "negated": _Reach(commas=True, ands=True),
    "unread": _Reach(commas=True, ands=True),
    "uncertain": _Reach(commas=False, ands=True),
}


class Clause:
    """One sentence with its cues: words, `apart` cues, and the words that lists go on by."""

    def __init__(
        self, words: Sequence[str], cues: Sequence[Met], lists: Mapping[str, frozenset[str]]
    ) -> None:
        self.words, self.cues, self.lists = words, cues, lists
        self.walls = [cue.start for cue in cues if cue.phrase.kind == "boundary"]
        self.joints = lists["or"] | lists["and"] | {COMMA}

    def meaning(
        self, mention: Met, mentions: Sequence[Met]
    ) -> tuple[State | None, str | None, str]:
        """Give state, rule and cue; None where the mention is no statement."""
        says = mention.phrase.says
        inside = [c for c in self.cues if mention.start < c.start and c.end <= mention.end]
        hedge = next((c for c in inside if c.phrase.kind == "uncertain"), None)
        denial = next((c for c in inside if c.phrase.kind == "negated"), None)
        if says == "absent":
            if hedge and not denial:
                return State.UNCERTAIN, "hedged", hedge.phrase.text
            return (None, None, "") if denial else (State.ABSENT, "stated", "")
        unread = self._cue("unread", mention)
        if unread:
            return None, None, ""
        late = self._after("uncertain", mention)
        if late:
            return State.UNCERTAIN, "hedged", late.phrase.text
        denial = denial or self._cue("negated", mention)
        if denial:
            return State.ABSENT, "negated", denial.phrase.text
        if says == "uncertain":
            return State.UNCERTAIN, "stated", ""
        hedge = hedge or self._before("uncertain", mention)
        if hedge:
            return State.UNCERTAIN, "hedged", hedge.phrase.text
        if any(self._alternatives(mention, other) for other in mentions):
            return State.UNCERTAIN, "alternative", ""
        return State.PRESENT, "mentioned", ""

    def _cue(self, kind: str, mention: Met) -> Met | None:
        return self._before(kind, mention) or self._after(kind, mention)

    def _before(self, kind: str, mention: Met) -> Met | None:
        """Find the nearest cue in front of a mention that reaches it."""
        for cue in reversed(self.cues):
            if cue.phrase.kind != kind or cue.end > mention.start:
                continue
            near = mention.start - cue.end <= _NEXT
            if cue.phrase.says == "next" and near and not self._split(cue.end, mention.start):
                return cue
            if cue.phrase.says == "before" and self._reaches(cue, mention, _REACH[kind]):
                return cue
        return None

    def _after(self, kind: str, mention: Met) -> Met | None:
        """Find the nearest cue behind a mention that reaches back to it."""
        for cue in self.cues:
            late = cue.phrase.says == "after" and cue.start >= mention.end
            if late and cue.phrase.kind == kind and self._reaches_back(cue, mention):
                return cue
        return None

    def _split(self, start: int, end: int) -> list[int]:
        """Name the joints between two words: commas, and, or."""
        return [at for at in range(start, end) if self.words[at] in self.joints]

    def _walled(self, start: int, end: int) -> bool:
        return any(start <= wall < end for wall in self.walls)

    def _reaches(self, cue: Met, mention: Met, reach: _Reach) -> bool:
        if self._walled(cue.end, mention.start):
            return False
        for at in self._split(cue.end, mention.start):
            if at == cue.end and self.words[at] == COMMA:
                continue  # "minimal, if any, effusion"
            if self.words[at] in self.lists["or"]:
                continue
            part = self._part(at + 1)
            if not part or self.words[at - 1] in self.joints:
                continue  # ", and": the last of them says what goes on
            goes_on = self._or_follows(at)
            allowed = reach.ands if self.words[at] in self.lists["and"] else reach.commas
            if not (allowed or goes_on) or self._is_statement(part, strict=not goes_on):
                return False
            if any(c.phrase.says == "before" and c.start == part.start for c in self.cues):
                return False
        return True

    def _reaches_back(self, cue: Met, mention: Met) -> bool:
        if self._walled(mention.end, cue.start):
            return False
        joints = self._split(mention.end, cue.start)
        if not joints:
            return not self._interrupted(mention, cue)
        by_or = any(self.words[at] in self.lists["or"] for at in joints)
        by_and = any(self.words[at] in self.lists["and"] for at in joints)
        if cue.phrase.kind == "uncertain" and not (by_or or by_and):
            return False
        own = self._part(mention.start, back=True)
        verbs = any(self.words[at] in self.lists["verbs"] for at in own)
        if verbs or self._is_statement(own, strict=not by_or):
            return False
        parts = [self._part(at + 1) for at in joints]
        if any(self._is_statement(part, strict=not by_or) for part in parts[:-1] if part):
            return False
        last = parts[-1]
        own_words = last and last.start < cue.start
        return not own_words or by_or or self.words[last.start] not in self.lists["begins"]

    def _interrupted(self, mention: Met, cue: Met) -> bool:
        """Say whether another cue in between takes the later one, as in `without`."""
        return any(
            other.phrase.kind in _REACH and other.phrase.says == "before"
            and mention.end <= other.start and other.end <= cue.start
            for other in self.cues
        )  # fmt: skip

    def _part(self, at: int, *, back: bool = False) -> range:
        """Give the words of a list's part, from its joint or from where it begins to its end."""
        start = at
        if back:
            while start and self.words[start - 1] not in self.joints and start not in self.walls:
                start -= 1
        end = at
        while end < len(self.words) and self.words[end] not in self.joints:
            if end in self.walls:
                break
            end += 1
        return range(start, end)

    def _or_follows(self, at: int) -> bool:
        wall = min((w for w in self.walls if w > at), default=len(self.words))
        return any(word in self.lists["or"] for word in self.words[at:wall])

    def _is_statement(self, part: range, *, strict: bool) -> bool:
        """Say whether a part of a list is a statement of its own."""
        words = self.words[part.start : part.stop]
        if strict and words and words[0] in self.lists["begins"]:
            return True
        for k, word in enumerate(words):
            if word in self.lists["verbs"]:
                behind = words[k + 1 : k + 1 + _SEEN]
                if not any(w in self.lists["seen"] or w == "not" for w in behind):
                    return True
        return words[:1] == ("there",)

    def _alternatives(self, mention: Met, other: Met) -> bool:
        """Say whether two findings stand for each other: atelectasis or pneumonia."""
        if other.phrase.kind == mention.phrase.kind or other.phrase.says != "present":
            return False
        first, second = sorted((mention, other), key=lambda m: m.start)
        between = self.words[first.end : second.start]
        return (
            0 < len(between) <= _OR
            and any(word in self.lists["or"] for word in between)
            and not any(word in self.lists["verbs"] for word in between)
            and not self._walled(first.end, second.start)
        )


def outermost(found: Iterable[Met]) -> list[Met]:
    """Leave out what a longer phrase of the same finding covers, and what is excepted."""
    every = sorted(found, key=lambda met: (met.start, met.start - met.end))
    kept: list[Met] = []
    for met in every:
        rivals = [other for other in every if other.phrase.kind == met.phrase.kind]
        if met.phrase.says != "except" and not any(_covers(other, met) for other in rivals):
            kept.append(met)
    return kept


def _covers(other: Met, met: Met) -> bool:
    if other is met:
        return False
    within = other.start <= met.start and met.end <= other.end
    if other.phrase.says == "except":
        return other.start < met.end and met.start < other.end and (
            other.end - other.start >= met.end - met.start or within
        )  # fmt: skip
    return within and other.end - other.start > met.end - met.start


def apart(found: Iterable[Met]) -> list[Met]:
    """Of cues that overlap, keep the one that begins first and is longest, in all its meanings."""
    every = sorted(found, key=lambda met: (met.start, met.start - met.end))
    kept: list[Met] = []
    for met in every:
        last = kept[-1] if kept else None
        if last is None or met.start >= last.end or (met.start, met.end) == (last.start, last.end):
            kept.append(met)
    return kept
