"""Report texts as they are published: a tree of files, a zip of it, or a table.

Everything is read as a stream, one text at a time, and each one that cannot be read is given with
the reason: no text is passed over in silence, and none stops the others.
"""

import codecs
import csv
import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cxr.errors import PacsError

MOST = 1_000_000
"""Bytes of one text; a report has two thousand."""
_KEYS = {
    "study_instance_uid": "uid",
    "studyinstanceuid": "uid",
    "study_uid": "uid",
    "study_id": "study",
    "studyid": "study",
    "study": "study",
    "accession_number": "accession",
    "accessionnumber": "accession",
    "accession": "accession",
}
_PATIENTS = ("subject_id", "patient_id", "patientid", "subject")
_TEXTS = ("report", "text", "report_text")
_SECTIONS = ("last_paragraph", "comparison", "indication", "history", "findings", "impression")
"""In the order of a report; the first bears no heading, so it is read where nothing better is."""
_STUDY = re.compile(r"s[0-9]+")
_PATIENT = re.compile(r"p[0-9]+")
# a table is read as a stream, so bytes that are no UTF-8 are taken one by one
codecs.register_error("cxr-latin-1", lambda e: (e.object[e.start : e.end].decode("latin-1"), e.end))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Text:
    """One report text, or why there is none.

    Attributes:
        source: The file below the given folder, or the table's row.
        kind: What `study` is: `uid`, `study`, `accession`, or `any` of them.
        study: As the source names it.
        patient: As the source names her, or empty.
        text: The report.
        reason: Why it cannot be used, or empty.
    """

    source: str
    kind: str
    study: str
    patient: str = ""
    text: str = ""
    reason: str = ""


def read(path: Path) -> tuple[int, Iterator[Text]]:
    """Open a folder, a zip or a CSV of report texts.

    Returns:
        How many texts there are, 0 where that is not known; and the texts, in a fixed order.

    Raises:
        PacsError: There is none, or a table without the columns; met names are in the message.
    """
    if path.is_dir():
        files = sorted(_files(path))
        if not files:
            raise PacsError(f"reports: expected .txt files in {str(path)!r}, met none")
        return len(files), (_file(path, name) for name in files)
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise PacsError(
            f"reports: expected a folder, a zip or a CSV, met {str(path)!r} ({error.strerror})"
        ) from error
    if zipped:
        return _zip(path)
    if path.suffix.casefold() != ".csv":
        raise PacsError(f"reports: expected a folder, a zip or a CSV, met {str(path)!r}")
    return 0, _table(path)


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        below = Path(place).relative_to(folder)
        yield from ((below / n).as_posix() for n in names if n.casefold().endswith(".txt"))


def _file(folder: Path, name: str) -> Text:
    try:
        with (folder / name).open("rb") as file:
            data = file.read(MOST + 1)
    except OSError as error:
        return _named(name, reason=f"cannot be read: {error.strerror}")
    return _decoded(name, data)


def _zip(path: Path) -> tuple[int, Iterator[Text]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(n for n in archive.namelist() if n.casefold().endswith(".txt"))
    except (zipfile.BadZipFile, OSError) as error:
        raise PacsError(
            f"reports: expected a zip of .txt files, met {str(path)!r} ({error})"
        ) from (error)
    if not names:
        raise PacsError(f"reports: expected .txt files in {str(path)!r}, met none")
    return len(names), _members(path, names)


def _members(path: Path, names: list[str]) -> Iterator[Text]:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            try:
                with archive.open(name) as member:
                    data = member.read(MOST + 1)
            except (zipfile.BadZipFile, OSError, RuntimeError, zlib.error, EOFError) as error:
                yield _named(name, reason=f"cannot be read: {error}")
            else:
                yield _decoded(name, data)


def _named(name: str, text: str = "", reason: str = "") -> Text:
    """Say which study a file is about: by its own name, and by its patient's folder."""
    pure = PurePosixPath(name)
    if not _STUDY.fullmatch(pure.stem):
        return Text(name, "any", pure.stem, "", text, reason)
    folder = pure.parent.name
    patient = folder if _PATIENT.fullmatch(folder) else ""
    return Text(name, "study", pure.stem[1:], patient, text, reason)


def _decoded(name: str, data: bytes) -> Text:
    if len(data) > MOST:
        return _named(name, reason=f"expected at most {MOST} bytes, met more")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    if "\0" in text:
        return _named(name, reason="expected text, met binary data")
    if not text.strip():
        return _named(name, reason="expected a report, met an empty file")
    return _named(name, text.replace("\r\n", "\n").replace("\r", "\n"))


def _table(path: Path) -> Iterator[Text]:
    csv.field_size_limit(max(csv.field_size_limit(), MOST))
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="cxr-latin-1") as file:
            reader = csv.DictReader(file)
            yield from _rows(path, reader)
    except (OSError, csv.Error, UnicodeError) as error:
        raise PacsError(f"reports: {path}: expected a CSV file, met {error}") from error


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[Text]:
    columns = {name.strip().casefold(): name for name in reader.fieldnames or () if name}
    key = next((name for name in _KEYS if name in columns), None)
    patient = next((columns[name] for name in _PATIENTS if name in columns), None)
    whole = next((columns[name] for name in _TEXTS if name in columns), None)
    parts = [name for name in _SECTIONS if name in columns]
    if key is None or (whole is None and not parts):
        wanted = "study_uid, study_id or accession_number" if key is None else (
            f"{', '.join(_TEXTS)} or sections ({', '.join(_SECTIONS)})"
        )  # fmt: skip
        met = ", ".join(reader.fieldnames or ()) or "an empty file"
        raise PacsError(f"reports: {path}: expected a column {wanted}, met {met}")
    for row in reader:
        source = f"{path.name}:{reader.line_num}"
        study = (row.get(columns[key]) or "").strip()
        kind = _KEYS[key]
        if kind == "study" and _STUDY.fullmatch(study):
            study = study[1:]
        who = (row.get(patient) or "").strip() if patient else ""
        said = (row.get(whole) or "") if whole else _joined(row, columns, parts)
        reason = "" if said.strip() else "expected a report, met an empty row"
        if len(said) > MOST:
            said, reason = "", f"expected at most {MOST} characters, met more"
        yield Text(source, kind, study, who, said, reason)


def _joined(row: Mapping[str, str], columns: Mapping[str, str], parts: list[str]) -> str:
    """Write a report of a table's sections, each below its heading."""
    file = io.StringIO()
    for name in parts:
        said = (row.get(columns[name]) or "").strip()
        if said:
            heading = "" if name == "last_paragraph" else f"{name.upper()}: "
            file.write(f"{heading}{said}\n\n")
    return file.getvalue()
