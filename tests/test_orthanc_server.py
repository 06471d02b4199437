"""Orthanc as our config starts it: who may use it, and what it keeps."""

import json

import pytest
import requests
from specimens import dicom

pytestmark = pytest.mark.orthanc


def test_it_answers_its_user_and_nobody_else(orthanc):
    assert requests.get(f"{orthanc.url}/system", timeout=10).status_code == 401
    assert (
        requests.get(f"{orthanc.url}/system", auth=("cxr", "wrong"), timeout=10).status_code == 401
    )
    assert orthanc.api.get("/system")["Name"] == "cxr"


def test_it_lost_nothing_when_it_was_killed(own_orthanc):
    stored = requests.post(
        f"{own_orthanc.url}/instances", dicom(1), auth=own_orthanc.auth, timeout=30
    ).json()

    own_orthanc.kill()
    assert own_orthanc.api.get("/system") is None
    own_orthanc.start()

    kept = requests.get(
        f"{own_orthanc.url}/instances/{stored['ID']}/file", auth=own_orthanc.auth, timeout=30
    )
    assert kept.content == dicom(1)


def test_its_files_are_private(orthanc):
    files = [orthanc.folder / "orthanc.json", *orthanc.folder.glob("*/*")]

    assert {path.stat().st_mode & 0o077 for path in [orthanc.folder, *files]} == {0}
    assert orthanc.password in json.dumps(json.loads(files[0].read_text()))
