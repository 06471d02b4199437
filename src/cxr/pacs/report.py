"""What an ingest found, for a person: a table on the terminal, a CSV of everything, a web page.

Rows go through once, however many: the CSV gets all of them, the page the first of each rule.
File names may identify patients, so what is written is for its owner alone.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import jinja2
from rich import box
from rich.table import Table
from rich.text import Text

from cxr import places
from cxr.images.doctor import Verdict
from cxr.ingest_rules import ERROR, RULES

SHOWN = 200
"""Rows of one rule on the page."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_EXAMPLE = 60  # characters of a file's path on the terminal


@dataclass(frozen=True)
class Row:
    """One objection to one file.

    Attributes:
        file: Its path below the folder, or its Orthanc ID.
        rule: One of `ingest_rules.RULES`.
        severity: Error or warning.
        met: What the file holds.
        advice: What to do.
    """

    file: str
    rule: str
    severity: str
    met: str
    advice: str


@dataclass(frozen=True)
class Flow:
    """Where the files went.

    Attributes:
        source: What was looked at, as typed: a folder, a PACS.
        created: When, as text.
        checked: Files in all.
        refused: Those with an error.
        stored: Those that came in now.
        present: Those that were in already.
        check: Whether nothing was to be stored; `stored` then counts what would have been.
    """

    source: str
    created: str
    checked: int
    refused: int
    stored: int
    present: int
    check: bool = False


@dataclass
class Line:
    """One rule's share.

    Attributes:
        rule: Its name.
        severity: Error or warning.
        files: How many files it objects to.
        rows: The first of them.
    """

    rule: str
    severity: str
    files: int = 0
    rows: list[Row] = field(default_factory=list)
    last: str | None = None


class Tally:
    """Counts rows as they pass."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Count the rows and pass them on; those of one file come together."""
        for row in rows:
            key = row.rule, row.severity
            line = self._lines.setdefault(key, Line(row.rule, row.severity))
            line.files += row.file != line.last
            line.last = row.file
            if len(line.rows) < SHOWN:
                line.rows.append(row)
            yield row

    def lines(self) -> list[Line]:
        """Give each rule that objected: errors first, then by how many files."""
        order = list(RULES)
        return sorted(
            self._lines.values(),
            key=lambda x: (x.severity != ERROR, -x.files, order.index(x.rule)),
        )


def rows(file: str, verdicts: Iterable[Verdict]) -> list[Row]:
    """Give the rows of one file."""
    return [Row(file, v.rule, v.severity, v.met, v.advice) for v in verdicts]


def write_csv(path: Path, rows: Iterable[Row]) -> Path:
    """Write every row, whole or not at all, and give the path.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    with _replacing(path, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "rule", "severity", "met", "advice"])
        for row in rows:
            cells = (row.file, row.rule, row.severity, row.met, row.advice)
            writer.writerow([_harmless(cell) for cell in cells])
    return path


def write_html(path: Path, tally: Tally, flow: Flow, *, csv_name: str = "") -> Path:
    """Write one page that needs nothing else, and give its path.

    Args:
        path: Where to.
        tally: What was found.
        flow: Where the files went.
        csv_name: Of the file that has all rows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(places.shipped("templates") / "ingest"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"printable": printable, "count": lambda n: f"{n:,}".replace(",", " ")}
    lines = tally.lines()
    page = environment.get_template("report.html").render(
        flow=flow,
        lines=lines,
        rules=RULES,
        most=max((line.files for line in lines), default=1),
        shown=sum(len(line.rows) for line in lines),
        total=sum(line.files for line in lines),
        limit=SHOWN,
        csv_name=csv_name,
    )
    with _replacing(path) as file:
        file.write(page)
    return path


def table(tally: Tally) -> Table:
    """Give one line a rule, for rich to print; it fits into 80 columns."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), expand=False)
    found.add_column("Rule", no_wrap=True)
    found.add_column("Files", justify="right", no_wrap=True, min_width=5)
    found.add_column("For example", overflow="fold", ratio=5)
    found.add_column("What to do", overflow="fold", ratio=5)
    for line in tally.lines():
        first = line.rows[0]
        name = Text(f"{line.rule}\n{line.severity}")
        name.stylize("bold red" if line.severity == ERROR else "yellow", len(line.rule))
        example = Text(f"{_shortened(printable(first.file))}\n{printable(first.met)}")
        found.add_row(name, str(line.files), example, Text(first.advice))
    return found


def printable(text: str) -> str:
    """Escape what a terminal or a page would act on: file names may hold that too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shortened(path: str) -> str:
    return path if len(path) <= _EXAMPLE else "…" + path[1 - _EXAMPLE :]


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


@contextmanager
def _replacing(path: Path, **how: Any) -> Iterator[IO[str]]:
    """Open a file that appears under its name only when it is complete."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # names need not be UTF-8
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", **how) as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
