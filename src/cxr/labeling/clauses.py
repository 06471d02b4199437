"""What stands around a mention in its sentence, and what that makes of it.

A cue (no, may, history of, has resolved) reaches as far as its clause, and over the parts of a
list. "No effusion, pneumothorax or edema" denies three findings, "no pneumothorax, small effusion"
and "no pneumothorax with small effusion" deny one.
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


_DENIES = ("negated", "before")


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
    """One sentence with its mentions, its `apart` cues, and the words that lists go on by."""

    def __init__(
        self,
        words: Sequence[str],
        mentions: Sequence[Met],
        cues: Sequence[Met],
        lists: Mapping[str, frozenset[str]],
    ) -> None:
        self.words, self.mentions, self.cues, self.lists = words, mentions, cues, lists
        self.walls = [cue.start for cue in cues if cue.phrase.kind == "boundary"]
        self.joints = lists["or"] | lists["and"] | {COMMA}
        self.nexts = {(cue.start, cue.end) for cue in cues if cue.phrase.says == "next"}
        self.begun = {cue.start for cue in cues if cue.phrase.says == "before"}
        self.withs = [at for at, word in enumerate(words) if self._adds(at, word)]
        self.or_follows = self._ors()

    def _adds(self, at: int, word: str) -> bool:
        """Say whether a word adds something, as `with` does; not in "consistent with"."""
        return (
            word in self.lists["with"]
            and not (at and self.words[at - 1] in self.lists["bound"])
            and not any(next_ in self.lists["or"] for next_ in self.words[at + 1 : at + 2])
        )

    def _ors(self) -> list[bool]:
        """Say of each word whether an `or` of the same list stands there or behind it."""
        ends = {*self.walls, *self.withs}
        ends |= {c.start for c in self.cues if (c.phrase.kind, c.phrase.says) == _DENIES}
        found, follows = [False] * (len(self.words) + 1), False
        for at in range(len(self.words) - 1, -1, -1):
            word = self.words[at]
            if word in self.lists["or"]:
                follows = True
            elif at in ends or word in self.lists["verbs"]:
                follows = False
            found[at] = follows
        return found

    def meaning(self, mention: Met) -> tuple[State | None, str | None, str]:
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
        if any(self._alternatives(mention, other) for other in self.mentions):
            return State.UNCERTAIN, "alternative", ""
        return State.PRESENT, "mentioned", ""

    def _cue(self, kind: str, mention: Met) -> Met | None:
        return self._before(kind, mention) or self._after(kind, mention)

    def _before(self, kind: str, mention: Met) -> Met | None:
        """Find the nearest cue in front of a mention that reaches it."""
        for cue in reversed(self.cues):
            if cue.phrase.kind != kind or cue.end > mention.start:
                continue
            if cue.phrase.says == "next" and self._is_next(cue, mention):
                return cue
            if cue.phrase.says == "before" and self._reaches(cue, mention, _REACH[kind]):
                return cue
        return None

    def _after(self, kind: str, mention: Met) -> Met | None:
        """Find the nearest cue behind a mention that reaches back to it."""
        for cue in self.cues:
            late = cue.phrase.says == "after" and cue.start >= mention.end
            if not late or cue.phrase.kind != kind:
                continue
            both = (cue.start, cue.end) in self.nexts  # "cardiomegaly, resolved edema"
            if both and any(self._is_next(cue, other) for other in self.mentions):
                continue
            if self._reaches_back(cue, mention):
                return cue
        return None

    def _is_next(self, cue: Met, mention: Met) -> bool:
        near = 0 <= mention.start - cue.end <= _NEXT
        return near and not (
            self._split(cue.end, mention.start) or self._with(cue.end, mention.start)
        )

    def _with(self, start: int, end: int) -> list[int]:
        return [at for at in self.withs if start <= at < end]

    def _split(self, start: int, end: int) -> list[int]:
        """Name the joints between two words: commas, and, or."""
        return [at for at in range(start, end) if self.words[at] in self.joints]

    def _walled(self, start: int, end: int) -> bool:
        return any(start <= wall < end for wall in self.walls)

    def _reaches(self, cue: Met, mention: Met, reach: _Reach) -> bool:
        if self._walled(cue.end, mention.start):
            return False
        if any(self._ends(at, cue) for at in self._with(cue.end, mention.start)):
            return False
        first = True
        for at in self._split(cue.end, mention.start):
            word, run = self.words[at], self.words[at + 1] in self.joints
            if at == cue.end and word == COMMA:
                late = cue.start and self.words[cue.start - 1] != COMMA
                own = cue.phrase.kind == "uncertain" and late and self._is_own(at + 1)
                if (
                    run or own
                ):  # "effusion, if any, and edema", "cannot be excluded, small effusion"
                    return False
                continue  # "minimal, if any, effusion"
            if word not in self.lists["or"]:
                if run:
                    continue  # ", and": the last of them says what goes on
                if not self._goes_on(at, reach, first=first):
                    return False
            first = False
        return True

    def _goes_on(self, at: int, reach: _Reach, *, first: bool) -> bool:
        """Say whether a list goes on behind a comma or an `and`."""
        part, listed = self._part(at + 1), self.or_follows[at]
        comma = COMMA in (self.words[at], self.words[at - 1])
        allowed = reach.ands if self.words[at] in self.lists["and"] else reach.commas
        if not (allowed or listed) or part.start in self.begun:
            return False
        if listed:
            return not self._is_statement(part, strict=False)
        if comma and self.words[part.start] in self.lists["sides"]:
            return False
        # two parts, as in "no pneumonia, edema is present"; three are a list that is not seen
        return not self._is_statement(part, strict=True, alone=comma and first)

    def _ends(self, at: int, cue: Met) -> bool:
        """Say whether what a cue says ends at a `with`."""
        if any(word in self.lists["begins"] for word in self.words[at + 1 : at + 2]):
            return True
        if cue.phrase.kind != "negated" or self.or_follows[at + 1]:
            return False
        added = next((m.phrase.kind for m in self.mentions if m.start > at), None)
        return not any(  # "no consolidation with air bronchograms"
            m.phrase.kind == added for m in self.mentions if cue.end <= m.start < at
        )

    def _reaches_back(self, cue: Met, mention: Met) -> bool:
        if self._walled(mention.end, cue.start):
            return False
        for at in self._with(mention.end, cue.start):
            clause = self.words[at : cue.end]
            if cue.phrase.kind == "uncertain" or not self.lists["verbs"].intersection(clause):
                return False  # of the nearer one: "cardiomegaly with edema, no longer seen"
        joints = self._split(mention.end, cue.start)
        if joints == [cue.start - 1] and cue.end == self._part(cue.start).stop:
            return self.words[joints[0]] == COMMA or cue.phrase.kind == "negated"
        if not joints:
            return not self._interrupted(mention, cue)
        by_or = any(self.words[at] in self.lists["or"] for at in joints)
        by_and = any(self.words[at] in self.lists["and"] for at in joints)
        if cue.phrase.kind == "uncertain" and not (by_or or by_and):
            return False
        own = self._part(mention.start, back=True)
        verbs = any(self.words[at] in self.lists["verbs"] for at in own)
        both = any(word in self.lists["plural"] for word in self.words[cue.start - 1 : cue.end])
        if verbs or self._is_statement(own, strict=not (by_or or both)):
            return False
        parts = [self._part(at + 1) for at in joints]
        if any(self._is_statement(part, strict=not by_or) for part in parts[:-1] if part):
            return False
        last = parts[-1]
        own_words = last and last.start < cue.start
        return not own_words or by_or or both or self.words[last.start] not in self.lists["begins"]

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

    def _is_own(self, at: int) -> bool:
        return self.words[at] in self.lists["begins"] | self.lists["sides"]

    def _is_statement(self, part: range, *, strict: bool, alone: bool = False) -> bool:
        """Say whether a part of a list is a statement of its own; `alone`: `is seen` makes one."""
        words = self.words[part.start : part.stop]
        if strict and words and words[0] in self.lists["begins"]:
            return True
        for k, word in enumerate(words):
            if word in self.lists["verbs"]:
                behind = words[k + 1 : k + 1 + _SEEN]
                seen = not alone and any(w in self.lists["seen"] for w in behind)
                if not seen and "not" not in behind:
                    return True
        return words[:1] == ("there",)

    def _alternatives(self, mention: Met, other: Met) -> bool:
        """Say whether two findings stand for each other: atelectasis or pneumonia."""
        if other.phrase.kind == mention.phrase.kind or other.phrase.says != "present":
            return False
        first, second = sorted((mention, other), key=lambda m: m.start)
        between = range(first.end, second.start)
        if not 0 < len(between) <= _OR or self._walled(first.end, second.start):
            return False
        ors = [at for at in between if self.words[at] in self.lists["or"]]
        if not ors or any(at in self.begun for at in range(first.end, ors[0])):
            return False  # "cardiomegaly without edema or pneumonia"
        apart_by = self.lists["verbs"] | self.lists["with"]
        return not any(
            self.words[at] in apart_by
            or (self.words[at] in self.lists["and"] and at + 1 not in ors)  # not and/or
            for at in between
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
