"""Whom the gallery keeps back: text that may be burned into an image can name its patient."""

import io
import re
from dataclasses import replace
from functools import partial

import pydicom
import pytest
from orthanc_servers import free_port
from specimens import dicom
from test_evaluation import evaluated
from test_pacs import dicomweb
from test_pointing import SALIENCY, asker, drawn, pictures_in

from cxr.learning.evaluation import gallery
from cxr.pacs import opening
from cxr.pacs.folder import FolderPacs

COUNT = 24


def material(said):
    """Images known again by marks in their letterboxes; `said`: what the PACS knows of them."""
    given, _ = drawn(COUNT)
    examples = tuple(
        replace(e, burned_in=said[k % len(said)]) for k, e in enumerate(given.cohort.examples)
    )
    for k, picture in enumerate(given.images.images):
        picture[0, :2] = (k, 77)
    return replace(given, cohort=replace(given.cohort, examples=examples))


def with_files(given, folder, words):
    """Put a file of each image but the last into a folder PACS, with one of these words in turn."""
    instances = list(given.cohort.instances)
    with FolderPacs(folder) as pacs:
        for k in range(COUNT - 1):
            ds = pydicom.dcmread(io.BytesIO(dicom(k)))
            if (word := words[k % len(words)]) is not None:
                ds.BurnedInAnnotation = word
            file = io.BytesIO()
            ds.save_as(file, enforce_file_format=True)
            instances[k] = pacs.store(file.getvalue())
    return replace(given, cohort=replace(given.cohort, instances=tuple(instances)))


def shown(page):
    return {int(pixels[0, 0]) for pixels in pictures_in(page)}


def asked(folder, given, pictures, opened):
    made = evaluated(
        folder, asker(), given, settings=SALIENCY, pictures=pictures, opened=opened
    )  # fmt: skip
    assert "data:image" not in made.shareable.read_text()
    return made.report.read_text()


@pytest.mark.parametrize(
    ("pictures", "seen", "told"),
    [
        (True, {0}, "Not shown: 8 of the images scored, of which it is not known whether text"),
        ("unflagged", {0, 1}, "it is not known whether text is burned in, and some of them may"),
    ],
)
def test_where_text_is_burned_in_nothing_is_shown(tmp_path, pictures, seen, told):
    given = with_files(material((False, None, True)), tmp_path / "pacs", (None,))

    page = asked(tmp_path, given, pictures, partial(FolderPacs, tmp_path / "pacs"))

    assert {k % 3 for k in shown(page)} == seen
    assert "Never shown: 8 of the images scored" in page
    assert told in page


def test_of_whom_a_server_says_nothing_the_file_is_asked(tmp_path):
    words = ("NO", "YES", None, "yes ", "MAYBE")
    given = with_files(material((None,)), tmp_path / "pacs", words)

    page = asked(tmp_path, given, "unflagged", partial(FolderPacs, tmp_path / "pacs"))

    assert {words[k % len(words)] for k in shown(page)} == {"NO", None}
    assert COUNT - 1 not in shown(page)  # is not there any more
    assert "Never shown: " in page


def test_no_more_than_some_files_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_ASKED", 1)
    given = with_files(material((None,)), tmp_path / "pacs", ("YES",))

    page = asked(tmp_path, given, "unflagged", partial(FolderPacs, tmp_path / "pacs"))

    assert "data:image" not in page
    met = int(re.search(r"text is burned into (\d+) of those scored", page)[1])
    assert 0 < met < COUNT - 1  # one round


@pytest.mark.parametrize(
    ("said", "pictures", "reason"),
    [
        (True, "unflagged", "text is burned into 24 of those scored, as their files say."),
        (None, True, "of 24 it is not known whether text is burned in (<code>examples=unflagged"),
        (None, "unflagged", "of 24 it is not known whether text is burned in, and their files co"),
    ],
)
def test_a_report_without_pictures_says_why(tmp_path, caplog, said, pictures, reason):
    away = dicomweb(f"http://127.0.0.1:{free_port()}", tmp_path / "seen.db", timeout_s=1.0)

    page = asked(
        tmp_path, material((said,)), pictures, partial(opening.opened, away, root=tmp_path)
    )

    assert "data:image" not in page
    assert f"No image is shown: {reason}" in page
    assert ("cannot be looked at" in caplog.text) is (said is None and pictures == "unflagged")
