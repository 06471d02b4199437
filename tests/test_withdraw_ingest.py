"""A withdrawal and the ingests before, beside and after it."""

import os

import pytest
import requests
import specimens
from ingest_command import here, problem, run, to

from cxr.errors import PacsError
from cxr.images.dicom import Instance
from cxr.infra import holds
from cxr.pacs import ledger, locks, reports
from cxr.pacs.folder import FolderPacs
from cxr.pacs.ingest import Ingest
from cxr.pacs.reports import Linked
from cxr.pacs.seen import Seen


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


def test_a_withdrawal_changes_nothing_while_a_run_is_at_work_and_names_it(tmp_path):
    root = tmp_path / "root"
    ingest(root, put(tmp_path / "in", 1))

    with holds.held(root, "nih-1"):
        line = problem(root, "withdraw=P7")
        here(root, "withdraw=P7", "check=true")  # which only looks

    assert f"met run 'nih-1' in process {os.getpid()} on " in line
    assert line.endswith("wait for it or stop it, then withdraw again")
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


def test_a_study_under_two_patients_keeps_what_may_be_the_other_ones(tmp_path, capsys):
    root, study = tmp_path / "root", "1.2.5"
    with FolderPacs(root / "pacs") as pacs:
        for number, patient in ((1, "P7"), (2, "P8")):
            pacs.store(specimens.dicom(number, patient=patient, study=study))
        pacs.store(specimens.dicom(3, patient="P7"))
        own = {i.sop_instance_uid: i for i in pacs.search(PatientID="P7")}
    alone = next(i.study_instance_uid for i in own.values() if i.study_instance_uid != study)
    with reports.Reports(root / "reports" / "reports.sqlite") as store:
        store.put([reports.Report(uid, "a", "Edema.", "") for uid in (study, alone)], Linked())
    truth = root / "synthetic" / "truth.csv"
    truth.parent.mkdir()
    mine = next(uid for uid, i in own.items() if i.study_instance_uid == study)
    truth.write_text(f"study,uid\n{study},{mine}\n{study},other\n{alone},any\n")

    here(root, "withdraw=P7", "check=true")
    asked = capsys.readouterr().out
    here(root, "withdraw=P7")

    assert "1 report texts\n" in asked
    assert "1 of their studies are another patient's too" in asked
    assert truth.read_text() == f"study,uid\n{study},other\n"
    with reports.Reports(root / "reports" / "reports.sqlite") as store:
        assert list(store.studies()) == [study]
    assert there(root) == ["P8"]


def hits(root, *words):
    """Every file below a data root that holds one of the words."""
    files = [p for p in root.rglob("*") if p.is_file()]
    return {p.relative_to(root).as_posix() for p in files for w in words if w in p.read_bytes()}


def test_no_ledger_holds_a_patient_id_once_a_run_has_ended(tmp_path):
    ingest(tmp_path / "a", put(tmp_path / "in", 1, patient="PAT48213XY"))
    there = ["from_pacs=folder", f"from_pacs.folder={tmp_path / 'a' / 'pacs'}"]
    query = "query={PatientID: PAT48213XY}"

    here(tmp_path / "b", *there, query, "ingest.deidentify=basic")
    here(tmp_path / "c", *there, query, f"to={tmp_path / 'copy'}")
    here(tmp_path / "c", *there, query, f"to={tmp_path / 'copy'}")

    assert hits(tmp_path / "b", b"PAT48213XY") | hits(tmp_path / "c", b"PAT48213XY") == set()
    assert len(list((tmp_path / "copy").rglob("*.dcm"))) == 1


def test_what_killed_runs_and_searches_left_of_a_patient_goes_too(tmp_path):
    root, place = tmp_path / "root", put(tmp_path / "in", 1)
    ingest(root, put(place, 2, patient="P8"))
    here(root, "from_pacs=folder", f"from_pacs.folder={root / 'pacs'}", f"to={tmp_path / 'copy'}")
    uids = ("1.2.77.1", "1.2.77.2", "1.2.77.3")
    seen = Seen(root / "dicomweb", "https://example.org")
    seen.note([Instance("P7", *uids), Instance("P8", *(f"{uid}.8" for uid in uids))])
    seen.close()
    (root / "ingest" / "ab.spool").mkdir()
    for name in ("ingest/ab.spool/1.dcm", "pacs/incoming/1.part", "pacs/incoming/cut.part"):
        (root / name).write_bytes((place / "1.dcm").read_bytes()[: 400 if "cut" in name else None])
    (root / "pacs" / "incoming" / "2.part").write_bytes((place / "2.dcm").read_bytes())
    with FolderPacs(root / "pacs") as pacs:
        gone = next(pacs.search(PatientID="P7"))
    words = [gone.sop_instance_uid.encode() + b".dcm", gone.orthanc_id.encode()]
    assert len(hits(root, *words)) > 1

    here(root, "withdraw=P7")

    assert hits(root, *words) == set()
    assert not list((root / "ingest").glob("*.spool"))
    assert [p.name for p in (root / "pacs" / "incoming").iterdir()] == ["2.part"]
    seen = Seen(root / "dicomweb", "https://example.org")
    assert (seen.by_sop("1.2.77.3"), seen.by_sop("1.2.77.3.8") is None) == (None, False)
    seen.close()


def test_files_of_who_withdrew_leave_nothing_but_a_path_in_the_report(tmp_path):
    root, place = tmp_path / "root", put(tmp_path / "in", 1)
    ingest(root, place)
    with FolderPacs(root / "pacs") as pacs:
        gone = next(pacs.search())
    here(root, "withdraw=P7")

    ingest(root, place)
    ingest(root, place)

    words = (gone.sop_instance_uid, gone.study_instance_uid, gone.orthanc_id)
    assert hits(root, *(word.encode() for word in words)) == set()
    assert hits(root, b"1.dcm") == {"ingest/report.csv", "ingest/report.html"}
    assert "1.dcm,withdrawn,error," in (root / "ingest" / "report.csv").read_text()
    assert there(root) == []


def test_tables_in_a_job_lose_their_rows_whatever_their_bytes(tmp_path):
    root, job = tmp_path / "root", tmp_path / "root" / "jobs" / "one"
    ingest(root, put(tmp_path / "in", 1))
    with FolderPacs(root / "pacs") as pacs:
        gone = next(pacs.search())
    job.mkdir(parents=True)
    (job / "mined.csv").write_text(f"study_instance_uid,label\n{gone.study_instance_uid},Edema\n")
    (job / "notes.csv").write_bytes("Größe;1\n".encode("latin-1"))
    rows = f"{gone.sop_instance_uid},Größe\nanother,Größe\n"
    (job / "sizes.csv").write_bytes(rows.encode("latin-1"))
    (job / "long.csv").write_text(f"{gone.sop_instance_uid},a\n{'x' * 200_000},b\n")

    here(root, "withdraw=P7")

    assert (job / "mined.csv").read_text() == "study_instance_uid,label\n"
    assert (job / "notes.csv").read_bytes() == "Größe;1\n".encode("latin-1")
    assert (job / "sizes.csv").read_bytes() == "another,Größe\n".encode("latin-1")
    assert (job / "long.csv").read_text() == f"{'x' * 200_000},b\n"
    assert there(root) == []


def listed(server, what):
    """What a running Orthanc holds: its instances, or its patients."""
    return requests.get(f"{server.url}/{what}", auth=server.auth, timeout=10).json()


@pytest.mark.orthanc
@pytest.mark.parametrize("mode", ["none", "basic"])
def test_who_withdraws_is_gone_from_a_real_orthanc_and_stays_out(own_orthanc, tmp_path, mode):
    root = tmp_path / "root"
    how = (*to(own_orthanc), "ingest.rules.body_part=off", f"ingest.deidentify={mode}")
    files = put(tmp_path / "in", 1, 2, patient="P7")
    put(files, 3, patient="P8")
    came = run(root, f"folder={files}", *how, server=own_orthanc)
    assert len(listed(own_orthanc, "instances")) == 3, came.stdout + came.stderr

    gone = run(root, "withdraw=P7", *to(own_orthanc), server=own_orthanc)
    again = run(root, f"folder={files}", *how, server=own_orthanc)

    assert gone.returncode == 0, gone.stderr
    assert "2 images removed" in gone.stdout
    assert len(listed(own_orthanc, "instances")) == len(listed(own_orthanc, "patients")) == 1
    assert "0 stored, 1 there already, 2 refused" in again.stdout
