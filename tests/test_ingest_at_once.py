"""What cannot work is said at once, before a long list is made for nothing."""

import socket

import specimens
from ingest_command import problem, radiographs, to

from cxr.pacs.folder import FolderPacs


def test_a_destination_that_is_away_is_noticed_before_anything_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_PACS_PASSWORD", "any")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        line = problem(
            tmp_path / "root", f"folder={radiographs(tmp_path / 'in', 1)}",
            "pacs=orthanc", f"pacs.url={url}", "pacs.image_url=null",
        )  # fmt: skip

    assert line.startswith(f"{url} cannot be reached (connection refused)")
    assert not list((tmp_path / "root" / "ingest").glob("*.sqlite"))


def test_a_wrong_password_of_the_destination_is_noticed_before_the_source_is_searched(
    tmp_path, orthanc, monkeypatch
):
    monkeypatch.setenv("CXR_PACS_PASSWORD", "wrong")
    with FolderPacs(tmp_path / "source") as pacs:
        pacs.store(specimens.dicom(1))
    source = ["from_pacs=folder", f"from_pacs.folder={tmp_path / 'source'}"]

    line = problem(tmp_path / "root", *source, *to(orthanc))

    assert "401; set CXR_PACS_USER and CXR_PACS_PASSWORD" in line
    assert not list((tmp_path / "root" / "ingest").glob("*.sqlite"))


def test_a_copy_to_a_file_is_refused_as_that(tmp_path):
    with FolderPacs(tmp_path / "source") as pacs:
        pacs.store(specimens.dicom(1))
    (tmp_path / "file").write_text("mine")
    source = ["from_pacs=folder", f"from_pacs.folder={tmp_path / 'source'}"]

    line = problem(tmp_path / "root", *source, f"to={tmp_path / 'file'}")
    below = problem(tmp_path / "root", *source, f"to={tmp_path / 'file' / 'below'}")

    assert line == f"to: expected a folder, or none yet, met a file at '{tmp_path / 'file'}'"
    assert "expected a folder, met a file; set to to another folder" in below
    assert (tmp_path / "file").read_text() == "mine"
