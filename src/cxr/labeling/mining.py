"""What a report's text says of each finding, by rules of ours.

A phrase of a finding is a mention. Cues around it (no, may, history of, has resolved) reach as far
as the clause, and over the parts of a list, and make it absent, uncertain or no statement at all.
A hedge stays a hedge: `likely` is uncertain, as `possible` is; training decides what that means.
These rules were tested on made-up reports only: compare them with readers before trusting them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cxr.contract import labels
from cxr.contract.labels import LabelSet, State
from cxr.errors import ConfigError, LabelError
from cxr.labeling import clauses, sections
from cxr.labeling.phrases import Phrases
from cxr.labeling.sections import BODY, Section, Sentence

_STRENGTH = (State.PRESENT, State.UNCERTAIN, State.ABSENT)


@dataclass(frozen=True)
class Evidence:
    """Why a finding has its state; names phrases of the file, never the report's own words.

    Attributes:
        state: What is said of the finding.
        rule: `mentioned`, `negated`, `hedged`, `alternative`, `stated`, `normal`, `implied`,
            `follows_from_findings`, or None where nothing says anything.
        phrase: That was met.
        cue: That changed its meaning.
        section: Where.
        start: Character of the text where the phrase begins.
        end: Character behind it.
    """

    state: State
    rule: str | None = None
    phrase: str = ""
    cue: str = ""
    section: str = ""
    start: int | None = None
    end: int | None = None


class Miner:
    """Reads reports for one label set.

    Args:
        phrases: What to look for.
        label_set: Whose findings are told; one that the phrases do not have is not asked.
        wanted: Sections in the order in which they are asked; the first that mentions a finding
            says it. Where a report has none of them, what stands below no heading is read.

    Raises:
        ConfigError: No finding of the label set has phrases, or a section is none of the file's.
    """

    def __init__(self, phrases: Phrases, label_set: LabelSet, wanted: Sequence[str]) -> None:
        check_sections(phrases, wanted)
        self._phrases, self._labels, self._wanted = phrases, label_set, tuple(wanted)
        self._names: dict[str, str] = {}
        for name in phrases.findings:
            try:
                self._names[name] = label_set.canonical(name)
            except LabelError:
                continue  # a finding of another label set
        if not self._names:
            raise ConfigError(
                f"labeling.phrases: expected phrases for findings of label set {label_set.name!r}, "
                "met none of them"
            )

    def read(self, text: str) -> dict[str, Evidence]:
        """Say what a report says, in the order of the label set."""
        parts = sections.split(text, self._phrases)
        found: dict[str, Evidence] = {}
        general: dict[str, Evidence] = {}
        for group in self._in_order(parts):
            told: dict[str, Evidence] = {}
            for section in group:
                for sentence in sections.sentences(text, section, self._phrases):
                    for name, evidence in self._sentence(sentence, section):
                        kept = general if evidence.rule == "normal" else told
                        kept[name] = _stronger(kept.get(name), evidence)
            for name, evidence in told.items():
                found.setdefault(name, evidence)
        return self._completed(general | found)

    def _in_order(self, parts: Sequence[Section]) -> Iterator[list[Section]]:
        """Give the wanted sections in their order; of the body, the last paragraph comes first."""
        met = False
        for name in self._wanted:
            group = [part for part in parts if part.name == name]
            met = met or bool(group)
            if group and name != BODY:
                yield group
        if BODY in self._wanted or not met:
            yield from ([part] for part in reversed(parts) if part.name == BODY)

    def _completed(self, found: Mapping[str, Evidence]) -> dict[str, Evidence]:
        """Fill in what nothing was said of, and what follows from what was said."""
        asked = set(self._names.values())
        silent = Evidence(State.NOT_MENTIONED), Evidence(State.NOT_ASKED)
        told = {n: found.get(n, silent[n not in asked]) for n in self._labels.names}
        for parent, children in self._labels.parents.items():
            for state in (State.PRESENT, State.UNCERTAIN):
                child = next((c for c in children if told[c].state is state), None)
                known = _STRENGTH[: _STRENGTH.index(state) + 1]
                if child and parent in told and told[parent].state not in known:
                    told[parent] = replace(told[child], rule="implied")
        if self._labels.no_finding:
            states = {name: evidence.state for name, evidence in told.items()}
            state = labels.follow_no_finding(self._labels, states)
            told[self._labels.no_finding] = Evidence(state, "follows_from_findings")
        return told

    def _sentence(self, sentence: Sentence, section: Section) -> Iterator[tuple[str, Evidence]]:
        """Say what one sentence says: finding and evidence, one for each mention."""
        mentions = clauses.outermost(self._phrases.mentions.met(sentence.words))
        if not mentions:
            return
        cues = clauses.apart(self._phrases.cues.met(sentence.words))
        clause = clauses.Clause(sentence.words, mentions, cues, self._phrases.lists)
        for mention in mentions:
            phrase = mention.phrase
            state, rule, cue = clause.meaning(mention)
            if state is None:
                continue
            names: Iterable[str] = (phrase.kind,)
            if phrase.kind in self._phrases.normal:
                denied = self._phrases.normal[phrase.kind]
                names, rule = self._phrases.findings if denied is None else denied, "normal"
                if denied is None:
                    excluded = self._labels.excluded
                    names = [n for n in names if self._names.get(n) in excluded]
            evidence = Evidence(
                state, rule, phrase.text, cue, section.name,
                sentence.spans[mention.start][0], sentence.spans[mention.end - 1][1],
            )  # fmt: skip
            yield from ((self._names[name], evidence) for name in names if name in self._names)


def check_sections(phrases: Phrases, wanted: Sequence[str]) -> None:
    """Refuse a section that no heading of the phrases names.

    Raises:
        ConfigError: It names those that there are.
    """
    known = {*phrases.headings.values(), BODY}
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f'labeling.sections: expected some of {", ".join(sorted(known))}, met "{name}"'
            )


def _stronger(kept: Evidence | None, new: Evidence) -> Evidence:
    if kept is None or _STRENGTH.index(new.state) < _STRENGTH.index(kept.state):
        return new
    return kept
