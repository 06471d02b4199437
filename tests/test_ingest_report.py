"""What an ingest reports: everything in the CSV, the page by itself, the table in 80 columns."""

import csv
import io
import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import memory
import pytest
from rich.console import Console

from cxr import ingest_rules
from cxr.images import doctor
from cxr.pacs import report
from cxr.pacs.report import Flow, Row, Tally

FLOW = Flow("/data/in", "2026-11-22 22:05", checked=5, refused=1, stored=3, present=1)
NASTY = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e"


def row(file: str = "a/1.dcm", rule: str = "minor", met: str = "PatientAge says 7 years") -> Row:
    severity = ingest_rules.DEFAULTS[rule]
    return Row(file, rule, severity, met, ingest_rules.RULES[rule].advice)


def tally(*rows: Row) -> Tally:
    made = Tally()
    assert list(made.through(rows)) == list(rows)
    return made


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def printed(made: Tally, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(report.table(made))
    return out.getvalue()


def test_rows_come_from_verdicts() -> None:
    verdicts = doctor.examine(b"not one").verdicts

    assert report.rows("x.txt", verdicts) == [
        Row("x.txt", "unreadable", "error", "not a DICOM file", verdicts[0].advice)
    ]


def test_the_csv_has_every_row_and_is_private(tmp_path: Path) -> None:
    rows = [row(f"{n}.dcm", met="two\nlines, and a comma") for n in range(500)]

    path = report.write_csv(tmp_path / "new" / "checked.csv", rows)

    header, *met = cells(path)
    assert header == ["file", "rule", "severity", "met", "advice"]
    assert [tuple(line) for line in met] == [
        (r.file, r.rule, r.severity, r.met, r.advice) for r in rows
    ]
    modes = path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777
    assert modes == (0o700, 0o600)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(tmp_path: Path, start: str) -> None:
    evil = f'{start}HYPERLINK("http://x/"&A1)'

    path = report.write_csv(tmp_path / "r.csv", [row(evil, met=evil)])

    assert cells(path)[1][0] == cells(path)[1][3] == f"'{evil}"


def test_a_name_that_is_no_utf8_is_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"M\xfcller.dcm")

    path = report.write_csv(tmp_path / "r.csv", [row(name)])

    assert cells(path)[1][0] == "M\\udcfcller.dcm"


def test_a_report_that_breaks_off_leaves_the_old_one(tmp_path: Path) -> None:
    path = report.write_csv(tmp_path / "r.csv", [row()])
    before = path.read_bytes()

    def breaking() -> Iterator[Row]:
        yield row()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.write_csv(path, breaking())

    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["r.csv"]


def test_a_rule_counts_files_and_keeps_the_first() -> None:
    rows = [row("1", "odd_bits", "a"), row("1", "odd_bits", "b"), row("2", "odd_bits", "c")]

    (line,) = tally(*rows).lines()

    assert (line.rule, line.files, line.rows[0].met) == ("odd_bits", 2, "a")


def test_errors_come_first_then_what_is_frequent() -> None:
    rows = [row("1", "minor"), row("1", "colour"), row("2", "burned_in"), row("3", "burned_in")]

    assert [line.rule for line in tally(*rows).lines()] == ["colour", "burned_in", "minor"]


class Tags(HTMLParser):
    """The tags of a page, its text, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(tmp_path: Path, made: Tally, flow: Flow = FLOW, csv_name: str = "all.csv") -> Tags:
    path = report.write_html(tmp_path / "r.html", made, flow, csv_name=csv_name)
    assert path.stat().st_mode & 0o777 == 0o600
    return Tags(path.read_text())


def test_the_page_needs_nothing_else_and_runs_nothing(tmp_path: Path) -> None:
    met = page(tmp_path, tally(row(NASTY, met=NASTY)), Flow(NASTY, "", 1, 0, 1, 0))

    assert met.loads == []
    assert not {"script", "img", "link", "iframe"} & set(met.tags)
    assert "<img src=x onerror=alert(1)>" in met.text
    assert "\x1b" not in met.text
    assert "\u202e" not in met.text


def test_the_page_says_where_the_files_went_and_that_names_identify(tmp_path: Path) -> None:
    text = " ".join(page(tmp_path, tally(row(), row(rule="colour", met="RGB"))).text.split())

    assert "file names, and what is met in files, may identify patients" in text
    assert "5files checked" in text
    assert "3stored" in text
    assert "1there already" in text
    assert "1refused" in text
    assert "PatientAge says 7 years" in text
    assert ingest_rules.RULES["colour"].advice in text


def test_a_check_says_that_nothing_was_stored(tmp_path: Path) -> None:
    flow = Flow("/data/in", "now", checked=1, refused=0, stored=1, present=0, check=True)

    text = page(tmp_path, tally(), flow).text

    assert "nothing was stored" in text
    assert "would be stored" in text
    assert "no rule objects to any file" in text


def test_every_rule_can_be_shown_alone(tmp_path: Path) -> None:
    page(tmp_path, tally(row(), row(rule="colour")))

    text = (tmp_path / "r.html").read_text()
    for name in ("minor-warning", "colour-error"):
        assert f'id="only-{name}"' in text
        assert f"#only-{name}:checked) .rows tbody tr:not(.{name}) {{ display: none; }}" in text


def test_a_large_report_is_capped_and_says_so(tmp_path: Path) -> None:
    memory.forget_peak()
    before = memory.peak()
    made = Tally()
    rows = (row(f"folder/{n}.dcm", "minor" if n % 2 else "burned_in") for n in range(200_000))

    path = report.write_csv(tmp_path / "all.csv", made.through(rows))
    met = page(tmp_path, made)

    with path.open() as file:
        assert sum(1 for _ in file) == 200_001
    assert met.tags.count("tr") == 2 * report.SHOWN + 2 + 2
    assert "400 of 200 000 rows, the first 200 of each rule; all are in all.csv" in met.text
    assert (tmp_path / "r.html").stat().st_size < 1 << 20
    assert memory.peak() - before < 64 << 20


def test_the_table_fits_80_columns() -> None:
    long = "a/" * 100 + "\N{SKULL}\x1b[31m.dcm"
    rows = [row(long, rule, f"{rule} met " + "x" * 150) for rule in ingest_rules.RULES]

    text = printed(tally(*rows))

    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b[31m.dcm" not in text
    for name, rule in ingest_rules.RULES.items():
        assert f" {name} " in text
        assert rule.severity in text


def test_the_table_says_where_and_what_to_do() -> None:
    text = " ".join(printed(tally(row(), row("2.dcm")), 200).split())

    for words in ("a/1.dcm", "PatientAge says 7 years", "leave children out", "minor=error"):
        assert words in text


def test_an_empty_table_can_be_printed() -> None:
    assert "Rule" in printed(Tally())
