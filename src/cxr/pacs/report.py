"""What an ingest found, for a person: a table on the terminal, a CSV of everything, a web page.

File names may identify patients, so whatever is written is for its owner alone.
"""

from dataclasses import dataclass

from cxr.images.doctor import Verdict


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


def rows(file: str, verdicts: tuple[Verdict, ...]) -> list[Row]:
    """Give the rows of one file."""
    return [Row(file, v.rule, v.severity, v.met, v.advice) for v in verdicts]
