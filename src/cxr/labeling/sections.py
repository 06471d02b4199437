"""From a report's text to its sections, and from a section to sentences of words.

Every pattern here is bounded or anchored, so a text of any kind takes time in proportion to its
length. Offsets are characters of the text as it is stored.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cxr.labeling.phrases import COMMA, Phrases, words_of

BODY = "body"
MOST_WORDS = 200
"""In one sentence; a longer one is cut, so that no text makes the work grow faster than it."""
_HEADING = re.compile(
    r"(?m)^[ \t>*#]{0,40}(?P<line>[A-Za-z][A-Za-z /&()'#0-9-]{1,59}?)[ \t*]{0,9}(?:(?P<colon>:)|$)"
    r"|(?<=[.!?;:_\n])[ \t]{1,20}(?P<inner>[A-Z][A-Z /&()-]{2,49}):"
)
_BLANK = re.compile(r"\n[ \t\r]*\n\s*|^[ \t]*_{10,}[ \t]*$", re.MULTILINE)
_TOKEN = re.compile(r"\?(?=\w)|[^\W_]+(?:['’][^\W_]+)?|[.!?;,()]|\n")
_ITEM = re.compile(r"[ \t]{0,40}(?:[-*•–]|\(?[0-9]{1,2}[.)](?=\s))")
_SHORT = 45
"""Characters: a line that ends before was not wrapped."""


@dataclass(frozen=True)
class Section:
    """A part of a text that is read as one.

    Attributes:
        name: As the phrases' headings name it, or `body`.
        start: Of its text.
        end: Behind its text.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Sentence:
    """Words in lower case, commas among them, with where each one stands in the text."""

    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def split(text: str, phrases: Phrases) -> list[Section]:
    """Cut a report at its headings.

    What stands below no heading, and paragraphs that follow the first one of a heading under
    which nothing is found (comparison, history, ...), are `body`.

    Returns:
        Sections in the order of the text, one for each paragraph of the body.
    """
    heads = [(match.start(), match.end(), name) for match, name in _headings(text, phrases)]
    heads.insert(0, (0, 0, BODY))
    found: list[Section] = []
    for k, (_, start, name) in enumerate(heads):
        end = heads[k + 1][0] if k + 1 < len(heads) else len(text)
        paragraphs = [s for s in _paragraphs(text, start, end) if text[s[0] : s[1]].strip()]
        if name in ("findings", "impression", "addendum"):
            found += [Section(name, start, end)] if paragraphs else []
            continue
        for number, (a, b) in enumerate(paragraphs):
            follows = number and (name != "wet_read" or _ruled(text, start, a))
            found.append(Section(BODY if follows else name, a, b))
    return found


def sentences(text: str, section: Section, phrases: Phrases) -> Iterator[Sentence]:
    """Cut a section into sentences of at most `MOST_WORDS` words."""
    words: list[str] = []
    spans: list[tuple[int, int]] = []

    def whole() -> Iterator[Sentence]:
        if words:
            yield Sentence(tuple(words), tuple(spans))
            words.clear()
            spans.clear()

    line_start = section.start
    for match in _TOKEN.finditer(text, section.start, section.end):
        token = match.group()
        if token == "\n":
            if _breaks(text, line_start, match.start(), section.end):
                yield from whole()
            line_start = match.end()
        elif token in ".!;" or (token == "?" and not text[match.end() : match.end() + 1].isalnum()):
            if token != "." or _ends(text, match.start(), words, phrases):
                yield from whole()
        elif token in ",()":
            words.append(COMMA)
            spans.append(match.span())
        else:
            words.append(token.lower().replace("’", "'"))
            spans.append(match.span())
        if len(words) >= MOST_WORDS:
            yield from whole()
    yield from whole()


def _headings(text: str, phrases: Phrases) -> Iterator[tuple[re.Match[str], str]]:
    for match in _HEADING.finditer(text):
        said = match["line"] or match["inner"] or ""
        words = words_of(re.sub(r"\([^()]*\)|[#0-9]+", " ", said))
        section = phrases.headings.get(" ".join(words))
        if section is None and match["colon"] and len(words) > 1:
            # as in "FINDINGS AND LIMITATIONS:" or "WET READ VERSION #1 by:"
            section = phrases.headings.get(" ".join(words[:2])) if said.isupper() else None
        if section is not None and (match["colon"] or match["inner"] or said[:1].isupper()):
            yield match, section  # a last line of "study" is no heading


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _BLANK.finditer(text, start, end):
        yield start, match.start()
        start = match.end()
    yield start, end


def _ruled(text: str, start: int, end: int) -> bool:
    """Say whether a line was drawn in between, as MIMIC-CXR's reports do below a wet read."""
    return "_" * 10 in text[start:end]


def _breaks(text: str, line_start: int, at: int, end: int) -> bool:
    """Say whether a line's end is a sentence's: before a list item, or far from the margin."""
    rest = text[at + 1 : min(end, at + 60)]
    if not rest.strip() or rest.lstrip(" \t\r").startswith("\n") or _ITEM.match(rest):
        return True
    return at - line_start < _SHORT and rest.lstrip()[:1].isupper()


def _ends(text: str, at: int, words: list[str], phrases: Phrases) -> bool:
    """Say whether a dot ends a sentence: not in 2.5 cm, 1.2.3, e.g. or behind Dr."""
    after = text[at + 1 : at + 2]
    if after.isalnum():
        return bool(words) and after.isupper() and not text[at - 1 : at].isdigit()
    last = words[-1] if words else ""
    dotted = text[max(0, at - 3) : at].lower()
    return last not in phrases.abbreviations and dotted not in phrases.abbreviations
