"""A withdrawal and the ingests before, beside and after it."""

import os

import pytest
import specimens
from ingest_command import here, problem

from cxr.errors import PacsError
from cxr.pacs import ledger, locks
from cxr.pacs.folder import FolderPacs
from cxr.pacs.ingest import Ingest


def put(folder, *numbers, patient="P7"):
    """Files of a patient in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number}.dcm").write_bytes(specimens.dicom(number, patient=patient))
    return folder


def there(root, **query):
    """Who is in the PACS."""
    with FolderPacs(root / "pacs") as pacs:
        return [i.patient_id for i in pacs.search(**query)]


def ingest(root, folder, *overrides):
    here(root, f"folder={folder}", "ingest.rules.body_part=off", *overrides)


def test_a_withdrawal_waits_for_no_ingest_and_says_which_is_at_work(tmp_path):
    root = tmp_path / "root"
    ingest(root, put(tmp_path / "in", 1))
    with FolderPacs(root / "pacs") as pacs, Ingest(root, pacs):
        line = problem(root, "withdraw=P7")

    assert f"met process {os.getpid()}; wait for it or stop it, then withdraw again" in line
    assert there(root) == ["P7"]
    here(root, "withdraw=P7")
    assert there(root) == []


def test_an_ingest_or_copy_that_begins_during_a_withdrawal_is_refused(tmp_path):
    root = tmp_path / "root"
    removed = pytest.raises(PacsError, match="a patient is removed just now")
    with locks.alone(root / "ingest"), removed:
        ledger.Ledger(ledger.path_of(root, "a PACS nobody knew before"))
    ledger.Ledger(ledger.path_of(root, "a PACS nobody knew before")).close()


def test_a_folder_of_deidentified_images_does_not_tell_from_which_files_they_came(tmp_path):
    root = tmp_path / "root"
    place = put(tmp_path / "in" / "MUELLER_HANS", 1, 2)

    ingest(root, tmp_path / "in", "ingest.deidentify=basic")
    ingest(root, tmp_path / "in", "ingest.deidentify=basic")

    told = [p for p in (root / "pacs").rglob("*") if p.is_file() and b"MUELLER" in p.read_bytes()]
    assert told == []
    with FolderPacs(root / "pacs") as pacs:
        came = sorted((o.path, o.orthanc_id) for o in ledger.origins(root, pacs))
        assert [path for path, _ in came] == [f"{place.name}/{n}.dcm" for n in (1, 2)]
        assert {source for _, source in came} == {i.orthanc_id for i in pacs.search()}
