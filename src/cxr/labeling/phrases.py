"""The phrases by which report texts are understood, read from a YAML that users may replace.

A phrase is compiled to a few sequences of word sets and gaps. Words of a text are looked at one by
one, and each only starts the phrases that begin with it, so the time grows with the text's length
and no text can make it grow faster.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cxr.errors import ConfigError

NEAR, FAR = 4, 8
"""Words that `..` and `...` stand for, at most."""
CUES = {
    "negated": ("before", "after", "next"),
    "uncertain": ("before", "after"),
    "unread": ("before", "after"),
}
SAYS = ("present", "absent", "uncertain", "except")
LISTS = ("or", "and", "verbs", "seen", "begins")
MORE_LISTS = ("with", "bound", "sides", "plural")
"""Which a file may leave out."""
COMMA = ","
_MOST_WAYS = 3000
_ELEMENT = re.compile(r"\.{2,3}|\[[^\[\]]+\]|[^\s\[\]]+")
_WORD = re.compile(r"\?|[^\W_]+(?:'[^\W_]+)?")


@dataclass(frozen=True)
class Phrase:
    """One phrase of the file.

    Attributes:
        text: As written there, which names it in audits.
        kind: What it is of: a finding, a normal statement, `negated`, ...
        says: `present`, `absent`, `uncertain` or `except`; of a cue `before`, `after` or `next`.
    """

    text: str
    kind: str
    says: str


@dataclass(frozen=True)
class Met:
    """A phrase in a sentence, from word `start` until before word `end`."""

    phrase: Phrase
    start: int
    end: int


Step = frozenset[str] | int
"""One of these words; or that many others, a negative number of any words, else no lists."""


Way = tuple[Phrase, tuple[Step, ...]]
"""A phrase, and one sequence of words that it can be."""


@dataclass(frozen=True)
class Words:
    """Phrases by the word they begin with, and by the next one; by "" where any may follow."""

    starts: Mapping[str, Mapping[str, Sequence["Way"]]]
    near_ends: frozenset[str]
    """Words that `..` never stands for."""
    far_ends: frozenset[str]
    """Words that `...` never stands for."""

    def met(self, words: Sequence[str]) -> Iterator[Met]:
        """Find every phrase in a sentence, in the order of where it begins."""
        for at, word in enumerate(words):
            ways = self.starts.get(word)
            if ways is None:
                continue
            following = words[at + 1] if at + 1 < len(words) else ""
            for phrase, steps in (
                *ways.get("", ()),
                *(ways.get(following, ()) if following else ()),
            ):
                end = self._end(steps, 1, words, at + 1)
                if end:
                    yield Met(phrase, at, end)

    def _end(self, steps: tuple[Step, ...], k: int, words: Sequence[str], at: int) -> int:
        """Say where a phrase ends whose step `k` stands at word `at`; 0 if it does not."""
        while k < len(steps):
            step = steps[k]
            if isinstance(step, int):
                return self._over(step, steps[k + 1 :], words, at)
            if at >= len(words) or words[at] not in step:
                return 0
            at, k = at + 1, k + 1
        return at

    def _over(self, step: int, steps: tuple[Step, ...], words: Sequence[str], at: int) -> int:
        """Try gaps from none up to the widest; the narrowest counts."""
        stops = self.far_ends if step < 0 else self.near_ends
        for width in range(abs(step) + 1):
            end = self._end(steps, 0, words, at + width)
            if end:
                return end
            if at + width >= len(words) or words[at + width] in stops:
                return 0
        return 0


@dataclass(frozen=True)
class Phrases:
    """What a file of phrases says.

    Attributes:
        findings: Those that have phrases.
        mentions: Of findings, and statements about many findings.
        cues: What changes the meaning of a mention.
        normal: Name of such a statement → findings it denies; None: all.
        lists: `or`, `and`, `verbs`, `seen`, `begins`, ... → words.
        headings: Heading → section.
        abbreviations: Words whose dot ends no sentence.
    """

    findings: tuple[str, ...]
    mentions: Words
    cues: Words
    normal: Mapping[str, tuple[str, ...] | None]
    lists: Mapping[str, frozenset[str]]
    headings: Mapping[str, str]
    abbreviations: frozenset[str]


def words_of(text: str) -> list[str]:
    """Give the words of a text as they are compared: lower case, hyphens apart."""
    return [word.lower() for word in _WORD.findall(text)]


def read(path: Path) -> Phrases:
    """Read a file of phrases.

    Raises:
        ConfigError: It cannot be read, or says something that cannot be; names file and key.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"labeling.phrases: expected a YAML of phrases, met {path}: no such file"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"labeling.phrases: {path}: expected YAML, met {reason}") from error
    try:
        return _Reader(_section(document, "the file")).phrases()
    except ConfigError as error:
        raise ConfigError(f"labeling.phrases: {path}: {error}") from error


class _Reader:
    """Compiles one document; every refusal names the key."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        keys = {"words", "findings", "normal", "cues", "lists", "sections", "abbreviations"}
        _only(document, keys, "the file")
        self.document = document
        self.macros: dict[str, list[tuple[str, ...]]] = {}
        for name, value in _section(document.get("words", {}), "words").items():
            ways = [w for text in _listed(value, f"words.{name}") for w in self._ways(text, name)]
            if any(isinstance(step, int) for way in ways for step in way):
                raise ConfigError(f"words.{name}: expected words without gaps, met one")
            self.macros[name] = [tuple("|".join(sorted(s)) for s in w) for w in ways]  # type: ignore[arg-type]

    def phrases(self) -> Phrases:
        """Compile all of it."""
        document = self.document
        findings = _section(document.get("findings"), "findings")
        normal = _section(document.get("normal", {}), "normal")
        mentions: list[Way] = []
        for name, said in findings.items():
            _only(_section(said, f"findings.{name}"), set(SAYS), f"findings.{name}")
            for says, value in said.items():
                mentions += self._compiled(value, f"findings.{name}.{says}", name, says)
        denied = {}
        for name, said in normal.items():
            place = f"normal.{name}"
            _only(_section(said, place), {"phrases", "absent", "except"}, place)
            denied[name] = self._denied(said.get("absent"), findings, f"{place}.absent")
            for key, says in (("phrases", "absent"), ("except", "except")):
                value = said.get(key, [] if key == "except" else None)
                mentions += self._compiled(value, f"{place}.{key}", name, says)
        lists = _section(document.get("lists"), "lists")
        _only(lists, {*LISTS, *MORE_LISTS}, "lists")
        words = {name: frozenset(self._plain(lists.get(name), f"lists.{name}")) for name in LISTS}
        for name in MORE_LISTS:
            given = lists.get(name)
            words[name] = frozenset(self._plain(given, f"lists.{name}") if given else ())
        cues, boundary = self._cues(_section(document.get("cues"), "cues"))
        return Phrases(
            tuple(findings), _by_start(mentions, boundary, words), _by_start(cues, boundary, words),
            denied, words, self._headings(_section(document.get("sections"), "sections")),
            frozenset(_listed(document.get("abbreviations", []), "abbreviations")),
        )  # fmt: skip

    def _cues(self, given: Mapping[str, Any]) -> tuple[list[Way], frozenset[str]]:
        _only(given, {*CUES, "nothing", "boundary"}, "cues")
        cues = []
        for kind, value in given.items():
            if kind in CUES:
                _only(_section(value, f"cues.{kind}"), set(CUES[kind]), f"cues.{kind}")
                for says, phrases in value.items():
                    cues += self._compiled(phrases, f"cues.{kind}.{says}", kind, says)
            else:
                cues += self._compiled(value, f"cues.{kind}", kind, kind)
        return cues, frozenset(
            word for p, steps in cues if p.kind == "boundary" and len(steps) == 1
            for word in _set(steps[0])
        )  # fmt: skip

    def _denied(
        self, value: Any, findings: Mapping[str, Any], place: str
    ) -> tuple[str, ...] | None:
        if value == "all":
            return None
        names = _listed(value, place)
        for name in names:
            if name not in findings:
                raise ConfigError(f'{place}: expected all, or keys of findings, met "{name}"')
        return tuple(names)

    def _headings(self, given: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for section, value in given.items():
            for heading in _listed(value, f"sections.{section}"):
                other = found.setdefault(" ".join(words_of(heading)), str(section))
                if other != section:
                    raise ConfigError(
                        f'sections.{section}: "{heading}" is a heading of {other} already'
                    )
        return found

    def _plain(self, value: Any, place: str) -> list[str]:
        found = []
        for text in _listed(value, place):
            if len(words_of(text)) != 1:
                raise ConfigError(f'{place}: expected single words, met "{text}"')
            found.append(words_of(text)[0])
        return found

    def _compiled(self, value: Any, place: str, kind: str, says: str) -> list[Way]:
        found = []
        for text in _listed(value, place):
            ways = self._ways(text, place)
            if any(not way or isinstance(way[0], int) or isinstance(way[-1], int) for way in ways):
                raise ConfigError(f'{place}: expected words at both ends, met "{text}"')
            found += [(Phrase(text, kind, says), way) for way in ways]
        return found

    def _ways(self, text: str, place: str) -> list[tuple[Step, ...]]:
        """Write out what may be missing, so that a way is a plain sequence."""
        choices: list[list[tuple[Step, ...]]] = []
        for part in _ELEMENT.findall(text):
            if part in ("..", "..."):
                choices.append([(NEAR if part == ".." else -FAR,)])
                continue
            inner = part[1:-1].strip() if part.startswith("[") else part
            ways = self._alternatives(inner, place, text)
            choices.append([*ways, ()] if part.startswith("[") else ways)
        count = 1
        for choice in choices:
            count *= len(choice)
        if count > _MOST_WAYS:
            raise ConfigError(f'{place}: "{text}" can be read in {count} ways; split it')
        return [tuple(itertools.chain(*way)) for way in itertools.product(*choices)]

    def _alternatives(self, inner: str, place: str, text: str) -> list[tuple[Step, ...]]:
        macro = re.fullmatch(r"<([^<>]+)>", inner)
        if macro:
            if macro[1] not in self.macros:
                raise ConfigError(f'{place}: "{text}": expected a key of words, met "{macro[1]}"')
            ways = self.macros[macro[1]]
            single = frozenset(w for way in ways if len(way) == 1 for w in way[0].split("|"))
            longer = [tuple(frozenset(s.split("|")) for s in way) for way in ways if len(way) > 1]
            return [*([(single,)] if single else []), *longer]
        if " " in inner:
            return [tuple(self._set(word, place, text) for word in inner.split())]
        return [(self._set(inner, place, text),)]

    def _set(self, alternatives: str, place: str, text: str) -> frozenset[str]:
        found = set()
        for one in alternatives.split("|"):
            bare, more = re.fullmatch(r"(.*?)(?:\(([^()]*)\))?", one, re.DOTALL).groups()  # type: ignore[union-attr]
            for word in (bare, bare + (more or "")):
                if words_of(word) != [word.lower()]:
                    raise ConfigError(
                        f'{place}: expected words of letters and digits, met "{word}" in "{text}"'
                    )
                found.add(word.lower())
        return frozenset(found)


def _by_start(
    phrases: Sequence[Way],
    boundary: frozenset[str],
    lists: Mapping[str, frozenset[str]],
) -> Words:
    starts: dict[str, dict[str, list[Way]]] = {}
    for phrase, steps in phrases:
        seconds = (_set(steps[1]) if len(steps) > 1 else ()) or ("",)
        for word, second in itertools.product(sorted(_set(steps[0])), sorted(seconds)):
            starts.setdefault(word, {}).setdefault(second, []).append((phrase, steps))
    joints = frozenset({COMMA}) | lists["or"] | lists["and"]
    return Words(starts, boundary | joints, boundary | lists["verbs"])


def _set(step: Step) -> frozenset[str]:
    return frozenset() if isinstance(step, int) else step


def _section(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{place}: expected a section with keys, met {str(value)[:40]!r}")
    return value


def _only(section: Mapping[str, Any], keys: set[str], place: str) -> None:
    for key in section:
        if key not in keys:
            known = ", ".join(sorted(keys))
            raise ConfigError(f'{place}: expected keys out of {known}, met "{key}"')


def _listed(value: Any, place: str) -> list[str]:
    """Take phrases as text between commas, or as a list of texts."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{place}: expected phrases between commas, met {str(value)[:40]!r}")
    stripped = [" ".join(item.split()) for item in items]
    if not all(stripped):
        raise ConfigError(f"{place}: expected a phrase between two commas, met nothing")
    return stripped
