"""Report texts find their studies, become labels, and are seen nowhere else."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import ingesting
import pydicom
import pytest
from report_texts import WHOLE
from specimens import dicom

from cxr.contract import manifest
from cxr.contract.labels import LabelSet, State
from cxr.errors import ConfigError, JobError, PacsError
from cxr.images import synth
from cxr.labeling import Existing, Job, compared, selection
from cxr.labeling.replay import ReplayLabeling
from cxr.labeling.reports import ReportLabeling
from cxr.pacs import ledger, report_texts, reports, studies
from cxr.pacs.folder import FolderPacs
from cxr.pacs.orthanc import OrthancPacs

ROOT = Path(__file__).parents[1]
LABELS = LabelSet(
    "few", ("Edema", "Pleural Effusion", "Pneumothorax", "No Finding"), no_finding="No Finding"
)
SECTIONS = ("addendum", "impression", "findings", "wet_read")
PRESENT, ABSENT, UNCERTAIN = State.PRESENT, State.ABSENT, State.UNCERTAIN
SECRET = "Zyzzyva Quuxington was seen by Dr. Frobnicate"
"""A sentence that must not be met outside the store."""


def mimic(number, patient, study_id, **changes):
    """A small image as MIMIC-CXR has it: numbers for PatientID and StudyID."""
    ds = pydicom.dcmread(io.BytesIO(dicom(number, patient=patient)))
    ds.StudyID, ds.StudyInstanceUID = study_id, f"1.2.4.{study_id or number}"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def pacs(tmp_path):
    """Four studies: two with numbers, one by its folder only, one by its accession number."""
    folder = tmp_path / "dicom"
    files = {
        "a/1.dcm": mimic(1, "10000032", "50414267"),
        "a/2.dcm": mimic(2, "10000032", "50414267"),
        "b/3.dcm": mimic(3, "10000764", "57375967"),
        "files/p10/p10000935/s50578979/4.dcm": mimic(4, "PSEUDONYM", ""),
        "c/5.dcm": mimic(5, "P9", "", AccessionNumber="A-77"),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with FolderPacs(tmp_path / "pacs") as store:
        ingesting.ingest(folder, store)
        yield store


@pytest.fixture
def store(tmp_path):
    with reports.Reports(tmp_path / "var" / "reports" / "reports.sqlite") as made:
        yield made


def tree(folder, texts):
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


TEXTS = {
    "files/p10/p10000032/s50414267.txt": "FINDINGS: No effusion.",
    "files/p10/p10000764/s57375967.txt": "IMPRESSION: Edema.",
    "files/p10/p10000935/s50578979.txt": "IMPRESSION: Possible edema.",
}


def test_a_tree_is_linked_by_study_number_patient_and_folder(tmp_path, pacs, store):
    found = reports.link(tree(tmp_path / "r", TEXTS), pacs, store)

    assert (found.new, found.replaced, found.same, found.unlinked) == (3, 0, 0, [])
    assert store.get("1.2.4.50414267").text == "FINDINGS: No effusion."
    assert store.get("1.2.4.4").source == "files/p10/p10000935/s50578979.txt"
    assert reports.without(pacs, store) == 1


def test_the_published_zip_is_read_as_the_tree_is(tmp_path, pacs, store):
    with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in TEXTS.items():
            file.writestr(name, text)
        file.writestr("files/index.html", "no report")

    found = reports.link(tmp_path / "mimic-cxr-reports.zip", pacs, store)

    assert (found.new, found.unlinked) == (3, [])
    assert reports.link(tree(tmp_path / "r", TEXTS), pacs, store).same == 3


def test_sections_of_a_table_become_a_report(tmp_path, pacs, store):
    path = tmp_path / "mimic_cxr_sectioned.csv"
    path.write_text(
        "study,impression,findings,last_paragraph,comparison\n"
        's50414267,"No edema.","Small, left effusion.",,None.\ns57375967,,,Pneumothorax.,\n'
    )

    found = reports.link(path, pacs, store)

    assert found.new == 2
    text = store.get("1.2.4.50414267").text
    assert (
        text == "COMPARISON: None.\n\nFINDINGS: Small, left effusion.\n\nIMPRESSION: No edema.\n\n"
    )
    assert store.get("1.2.4.57375967").text == "Pneumothorax.\n\n"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("StudyInstanceUID,report", "1.2.4.5,Edema."),
        ("accession_number,text", "A-77,Edema."),
        ("patient_id,Accession,Report_Text", "P9,A-77,Edema."),
    ],
)
def test_a_table_names_studies_by_uid_or_accession_number(tmp_path, pacs, store, header, row):
    (tmp_path / "r.csv").write_text(f"\ufeff{header}\r\n{row}\r\n", encoding="utf-8")

    assert reports.link(tmp_path / "r.csv", pacs, store).new == 1
    assert store.get("1.2.4.5").text == "Edema."


def test_a_study_of_another_patient_is_not_linked(tmp_path, pacs, store):
    texts = {"p10/p10000999/s50414267.txt": "Edema.", "p10/p10000001/s50578979.txt": "Edema."}

    found = reports.link(tree(tmp_path / "r", texts), pacs, store)

    assert store.count() == 0
    assert {reason for _, reason in found.unlinked} == {"the study is there, of another patient"}


def test_a_number_of_two_studies_is_told_apart_by_the_patient_or_not_linked(tmp_path, pacs, store):
    pacs.store(mimic(8, "10000764", "50414267", StudyInstanceUID="1.2.4.8"))
    (tmp_path / "r.csv").write_text("study_id,text\n50414267,Edema.\n")

    table = reports.link(tmp_path / "r.csv", pacs, store)
    named = reports.link(tree(tmp_path / "r", {"p10000764/s50414267.txt": "Edema."}), pacs, store)

    assert table.unlinked == [("r.csv:2", "2 studies have this number")]
    assert named.new == 1
    assert list(store.studies()) == ["1.2.4.8"]


def test_the_same_again_changes_nothing_and_a_changed_text_replaces(tmp_path, pacs, store):
    folder = tree(tmp_path / "r", TEXTS)
    reports.link(folder, pacs, store)
    (folder / "files/p10/p10000764/s57375967.txt").write_text("IMPRESSION: No edema.")

    again = reports.link(folder, pacs, store)

    assert (again.new, again.replaced, again.same) == (0, 1, 2)
    assert store.get("1.2.4.57375967").text == "IMPRESSION: No edema."


def test_of_two_texts_about_one_study_the_first_is_kept_and_the_other_told(tmp_path, pacs, store):
    texts = {"a/p10000032/s50414267.txt": "Edema.", "b/p10000032/s50414267.txt": "No edema.",
             "c/p10000032/s50414267.txt": "Edema."}  # fmt: skip

    found = reports.link(tree(tmp_path / "r", texts), pacs, store)

    assert found.unlinked == [
        ("b/p10000032/s50414267.txt", "expected one report a study, met another before it")
    ]
    assert store.get("1.2.4.50414267").text == "Edema."


def test_files_that_are_no_reports_are_listed_and_stop_nothing(tmp_path, pacs, store):
    texts = {
        "p10000032/s50414267.txt": "Ödem, kein Erguß.".encode("latin-1"),
        "p10000764/s57375967.txt": b"\x00\x01\x02" * 50,
        "p10000935/s50578979.txt": b" \n",
        "p1/s1.txt": b"x" * (report_texts.MOST + 1),
        "p1/s2.txt": "Edema.",
        "notes.txt": "Edema.",
        "1.2.4.5.txt": "Edema.".encode("utf-16"),
    }

    found = reports.link(tree(tmp_path / "r", texts), pacs, store)

    assert dict(found.unlinked) == {
        "p10000764/s57375967.txt": "expected text, met binary data",
        "p10000935/s50578979.txt": "expected a report, met an empty file",
        "p1/s1.txt": "expected at most 1000000 bytes, met more",
        "p1/s2.txt": "no such study in the PACS",
        "notes.txt": "no such study in the PACS",
    }
    assert store.get("1.2.4.50414267").text == "Ödem, kein Erguß."
    assert store.get("1.2.4.5").text == "Edema."


def test_a_damaged_member_of_a_zip_is_listed(tmp_path, pacs, store):
    path = tmp_path / "r.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, text in TEXTS.items():
            file.writestr(name, text)
    path.write_bytes(path.read_bytes().replace(b"Possible edema", b"Possible EDEMA", 1))

    found = reports.link(path, pacs, store)

    assert found.new == 2
    ((name, reason),) = found.unlinked
    assert name.endswith("s50578979.txt")
    assert "Bad CRC-32" in reason


@pytest.mark.parametrize(
    ("name", "content", "met"),
    [
        ("none", None, "expected a folder, a zip or a CSV, met .*none' .No such file"),
        ("r.pdf", b"%PDF", r"expected a folder, a zip or a CSV, met .*r\.pdf"),
        ("r.csv", b"name,text\n", "a column study_uid, study_id or accession_number, met name"),
        ("r.csv", b"study_id,age\n1,2\n", "a column report, text, report_text or sections"),
        ("r.csv", b"", "met an empty file"),
        ("r.zip", b"PK\x03\x04 and no more", "expected a zip of .txt files"),
    ],
)  # fmt: skip
def test_what_holds_no_reports_is_refused(tmp_path, pacs, store, name, content, met):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(PacsError, match=met) as caught:
        reports.link(tmp_path / name, pacs, store)

    assert str(caught.value).startswith("reports: ")
    assert "\n" not in str(caught.value)


def test_names_with_wildcards_are_asked_of_no_pacs(tmp_path, pacs, store):
    (tmp_path / "r.csv").write_text("study_id,text\n*,Edema.\n5041426?,Edema.\n")

    found = reports.link(tmp_path / "r.csv", pacs, store)

    assert [reason for _, reason in found.unlinked] == ["no such study in the PACS"] * 2


def test_an_orthanc_is_asked_for_each_text_and_the_ledger_for_folders(tmp_path, orthanc, store):
    files = {
        "a/1.dcm": mimic(901, "19000032", "59414267"),
        "files/p19/p19000935/s59578979/4.dcm": mimic(902, "PSEUDONYM", ""),
        "c/5.dcm": mimic(903, "P9", "", AccessionNumber="A-977"),
    }
    texts = {
        "files/p19/p19000032/s59414267.txt": "No effusion.",
        "files/p19/p19000935/s59578979.txt": "Possible edema.",
        "x/1.2.4.903.txt": "Edema.",
        "x/A-977.txt": "Edema.",
        "p19000999/s59414267.txt": "Edema.",
        "p1/*.txt": "Edema.",
    }

    with OrthancPacs.opened(orthanc.section, root=tmp_path / "var") as pacs:
        ingesting.ingest(tree(tmp_path / "dicom", files), pacs, tmp_path / "var")
        came = list(ledger.origins(tmp_path / "var", pacs))
        found = reports.link(tree(tmp_path / "r", texts), pacs, store, origins=came)
        again = reports.link(tmp_path / "r", pacs, store, origins=came)

    assert set(store.studies()) == {"1.2.4.59414267", "1.2.4.902", "1.2.4.903"}
    assert dict(found.unlinked) == {
        "p19000999/s59414267.txt": "the study is there, of another patient",
        "p1/*.txt": "no such study in the PACS",
    }
    assert (found.new, found.same, again.same) == (3, 1, 4)


def test_what_is_withdrawn_leaves_nothing_on_disk(tmp_path, pacs, store):
    folder = tree(tmp_path / "r", TEXTS | {"p10000032/s50414267.txt": SECRET * 50})
    (folder / "files/p10/p10000032/s50414267.txt").unlink()
    reports.link(folder, pacs, store)

    assert store.forget(["1.2.4.50414267", "9.9"]) == 1

    assert store.get("1.2.4.50414267") is None
    assert store.count() == 2
    for path in store.path.parent.iterdir():
        assert b"Zyzzyva" not in path.read_bytes()


def test_the_store_is_its_owners_alone(tmp_path, pacs, store):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)

    assert store.path.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.path.parent.iterdir()} == {0o600}


def test_names_of_a_study_start_with_the_surest():
    found = studies.names("1.2.3", "77", ["files/p10/p10000032/s50414267/a.dcm"])

    assert found[:3] == ["1.2.3", "77", "50414267"]
    assert "s50414267" in found


def job_of(tmp_path, pacs, store, *, name="mined", compare=None, labels=LABELS, **changes):
    job = Job(name, tmp_path / "var" / "jobs" / name, labels)
    picked = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=labels)
    backend = ReportLabeling(
        pacs=pacs, store=store.path, sections=changes.pop("sections", SECTIONS), compare=compare,
        **changes,
    )  # fmt: skip
    backend.start(job, picked.path)
    assert backend.status(job).state == "Completed"
    return job, backend, backend.collect(job)


def test_texts_become_the_output_manifest_of_a_job(tmp_path, pacs, store):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)

    _, _, path = job_of(tmp_path, pacs, store)

    lines = {line["sop-instance-uid"].rpartition(".")[2]: line for line in manifest.read(path)}
    found = {key: manifest.labelled(line, "mined") for key, line in lines.items()}
    assert {key: list(f.states.values()) for key, f in found.items()} == {
        "1": [State.NOT_MENTIONED, ABSENT, State.NOT_MENTIONED, State.NOT_MENTIONED],
        "2": [State.NOT_MENTIONED, ABSENT, State.NOT_MENTIONED, State.NOT_MENTIONED],
        "3": [PRESENT, State.NOT_MENTIONED, State.NOT_MENTIONED, ABSENT],
        "4": [UNCERTAIN, State.NOT_MENTIONED, State.NOT_MENTIONED, UNCERTAIN],
    }
    assert {f.label_source for f in found.values()} == {"report-text-mined"}
    assert {line["mined-metadata"]["human-annotated"] for line in lines.values()} == {"no"}
    assert {line["mined"]["level"] for line in lines.values()} == {"study"}
    assert [f["reason"] for f in lines["4"]["mined"]["findings"]] == [
        "hedged", None, None, "follows_from_findings"
    ]  # fmt: skip


def test_the_audit_gives_rule_phrase_and_place_but_no_text(tmp_path, pacs, store):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)

    job, _, _ = job_of(tmp_path, pacs, store)

    rows = list(csv.DictReader((job.folder / "mined.csv").open()))
    (row,) = [r for r in rows if r["label"] == "Pleural Effusion"]
    text = store.get(row["study_instance_uid"]).text
    assert text[int(row["start"]) : int(row["end"])] == "effusion"
    assert (row["state"], row["rule"], row["phrase"], row["cue"], row["section"]) == (
        "absent", "negated", "effusion(s)", "no", "findings"
    )  # fmt: skip


def test_images_without_a_report_are_left_out_and_told(tmp_path, pacs, store, caplog):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)

    _, _, path = job_of(tmp_path, pacs, store)

    assert len(list(manifest.read(path))) == 4
    assert "1 of 5 images are of studies without a report" in caplog.text


def test_without_reports_or_with_others_only_the_job_says_so(tmp_path, pacs, store):
    with pytest.raises(JobError, match=r"no report is linked to a study; python -m cxr\.ing"):
        job_of(tmp_path, pacs, store)
    store.put([reports.Report("9.9", "x", "Edema.", "0")], reports.Linked())
    with pytest.raises(JobError, match="expected images whose study has a report, met 5 images of"):
        job_of(tmp_path, pacs, store)


def test_a_job_that_readers_answered_is_not_replaced(tmp_path, pacs, store):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)
    (tmp_path / "var" / "jobs" / "mined").mkdir(parents=True)
    (tmp_path / "var" / "jobs" / "mined" / selection.ANSWERS).touch()

    with pytest.raises(JobError, match="has answers of readers, which these labels would replace"):
        job_of(tmp_path, pacs, store)


def test_wrong_phrases_or_sections_stop_a_job_before_it_writes(tmp_path, pacs, store):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)

    with pytest.raises(ConfigError, match=r"labeling\.phrases: .*none\.yaml"):
        job_of(tmp_path, pacs, store, phrases=str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"labeling\.sections: expected some of"):
        job_of(tmp_path, pacs, store, sections=("conclusion",))


def read_by_hand(tmp_path, pacs, text):
    """A job whose labels are said to be readers', by SOPInstanceUID."""
    (tmp_path / "readers.csv").write_text(text)
    existing = Existing(
        tmp_path / "readers.csv", "sop_instance_uid", None, None, "absent", "readers"
    )
    job = Job("by-hand", tmp_path / "var" / "jobs" / "by-hand", LABELS, existing=existing)
    picked = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=LABELS)
    backend = ReplayLabeling(pacs=pacs)
    backend.start(job, picked.path)
    backend.collect(job)
    return job.folder


def test_texts_are_compared_with_readers_image_by_image(tmp_path, pacs, store):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)
    readers = read_by_hand(
        tmp_path, pacs,
        "sop_instance_uid,Edema,Pleural Effusion\n1.2.3.1,0,0\n1.2.3.2,0,1\n1.2.3.3,1,\n"
        "1.2.3.4,1,0\n1.2.3.5,1,1\n",
    )  # fmt: skip

    job, backend, _ = job_of(tmp_path, pacs, store, compare=readers)

    document = json.loads((job.folder / "compared.json").read_text())
    assert document["images"] == 4
    edema, effusion = (document["labels"][n] for n in ("Edema", "Pleural Effusion"))
    assert (edema["images"], edema["compared"], edema["not_mentioned"]) == (4, 2, 2)
    assert (edema["uncertain_report"], edema["precision"]["of"]) == (1, 1)
    assert (effusion["images"], effusion["compared"], effusion["recall"]["of"]) == (3, 2, 1)
    assert effusion["recall"]["hits"] == 0
    rows = list(csv.DictReader((job.folder / "compared.csv").open()))
    assert [row["label"] for row in rows] == ["Edema", "Pleural Effusion", "Pneumothorax"]
    assert any(line.startswith("Edema") for line in backend.comparison)


def test_kappa_precision_and_recall_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    import numpy as np

    rng = np.random.default_rng(5)
    states = (PRESENT, ABSENT, UNCERTAIN)
    readers = [states[i] for i in rng.choice(3, 300, p=[0.4, 0.5, 0.1])]
    texts = [r if rng.random() < 0.7 else states[rng.integers(3)] for r in readers]
    texts[:20] = [State.NOT_MENTIONED] * 20
    every = list(zip(readers, texts, strict=True))
    pairs = {str(i): ({"Edema": a}, {"Edema": b}) for i, (a, b) in enumerate(every)}

    (row,) = compared.compare(pairs, ["Edema"])

    both = [(a, b) for a, b in every if b is not State.NOT_MENTIONED]
    assert row.kappa == pytest.approx(metrics.cohen_kappa_score(*zip(*both, strict=True)))
    assert row.kappa_ci[0] < row.kappa < row.kappa_ci[1]
    quiet = [(a, ABSENT if b is State.NOT_MENTIONED else b) for a, b in every]
    sure = [(a is PRESENT, b is PRESENT) for a, b in quiet if UNCERTAIN not in (a, b)]
    truth, told = zip(*sure, strict=True)
    assert row.recall.value == pytest.approx(metrics.recall_score(truth, told))
    said = [(a is PRESENT, b is PRESENT) for a, b in both if UNCERTAIN not in (a, b)]
    assert row.precision.value == pytest.approx(metrics.precision_score(*zip(*said, strict=True)))
    assert (row.images, row.compared, row.not_mentioned) == (300, 280, 20)


def test_a_job_to_compare_with_must_have_labels_of_the_same_images(tmp_path, pacs, store):
    reports.link(tree(tmp_path / "r", TEXTS), pacs, store)
    readers = read_by_hand(tmp_path, pacs, "sop_instance_uid,Edema\n1.2.3.5,1\n")

    with pytest.raises(JobError, match=r"job\.compare: expected a job with an output manifest"):
        job_of(tmp_path, pacs, store, compare=tmp_path / "var" / "jobs" / "none")
    with pytest.raises(
        JobError, match="expected images that 'mined' has too, met none in 'by-hand'"
    ):
        job_of(tmp_path, pacs, store, compare=readers)
    job_of(tmp_path, pacs, store, name="other")
    with pytest.raises(JobError, match="expected labels of readers, met 'other' of texts"):
        job_of(tmp_path, pacs, store, compare=tmp_path / "var" / "jobs" / "other")


def cxr(command, *overrides, root, fails=False):
    done = subprocess.run(
        [sys.executable, "-m", f"cxr.{command}", *map(str, overrides)],
        cwd=ROOT, env={**os.environ, "CXR_ROOT": str(root)},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert (done.returncode == 0) is not fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


SAID = {"Edema": "Mild pulmonary edema.", "Pneumothorax": "Small apical pneumothorax."}


def drawn(folder, texts, images=60):
    """Synthetic radiographs under MIMIC-CXR's numbers, and a text for each study."""
    for index in range(images):
        data, states = synth.draw(index, seed=3, size=(96, 80))
        ds = pydicom.dcmread(io.BytesIO(data))
        patient = f"1{int(ds.PatientID.rpartition('-')[2]):07d}"
        study = f"5{int(hashlib.sha1(ds.StudyInstanceUID.encode()).hexdigest()[:6], 16):08d}"
        ds.PatientID, ds.StudyID = patient, study
        ds.save_as(folder / f"{index}.dcm", enforce_file_format=True)
        lines = [
            text if states[name] is PRESENT else f"No {name.lower()}."
            for name, text in SAID.items()
        ]
        report = f"HISTORY: {SECRET}.\n\nFINDINGS: {' '.join(lines)}\n\nIMPRESSION: {SECRET}.\n"
        tree(texts, {f"files/p{patient[:2]}/p{patient}/s{study}.txt": report})


@pytest.mark.slow
def test_texts_go_the_whole_way_and_are_seen_nowhere_but_in_their_store(tmp_path, preloaded):
    (tmp_path / "dicom").mkdir()
    drawn(tmp_path / "dicom", tmp_path / "texts")
    tree(tmp_path / "texts", {"files/p10/p19999999/s59999999.txt": SECRET})
    root = tmp_path / "var"
    cxr("ingest", f"folder={tmp_path / 'dicom'}", root=root)

    linked = cxr("ingest", f"reports={tmp_path / 'texts'}", root=root)
    mined = cxr("label", "job=reports", root=root)
    trained = preloaded.run(
        "cxr.train", "data=job", "data.job=reports", "name=mined", "trainer=smoke",
        "data.image_size=[64,64]", "draws=100", environment={"CXR_ROOT": str(root)},
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr

    assert "56 reports linked (56 new, 0 replaced, 0 as before), 1 not" in linked.stdout
    assert "0 studies without a report" in linked.stdout
    assert linked.stdout.endswith("next: python -m cxr.label job=reports\n")
    listed = (root / "ingest" / "reports_unlinked.csv").read_text().splitlines()
    assert listed[1:] == ["files/p10/p19999999/s59999999.txt,no such study in the PACS"]
    assert "report: " in trained.stdout
    store = root / "reports"
    seen = [done.stdout + done.stderr for done in (linked, mined, trained)]
    files = [p for p in root.rglob("*") if p.is_file() and store not in p.parents]
    assert any(b"Frobnicate" in p.read_bytes() for p in store.iterdir())
    for word in ("Zyzzyva", "Frobnicate", "apical pneumothorax", "Mild pulmonary"):
        assert not any(word in text for text in seen)
        assert not [p for p in files if word.encode() in p.read_bytes()]


@pytest.mark.parametrize(
    ("override", "met"),
    [
        ("labeling.phrases=/nope.yaml", "met /nope.yaml: no such file"),
        ("labeling.sections=[finding]", 'met "finding"'),
    ],
)
def test_phrases_or_sections_that_cannot_be_used_leave_no_job_behind(tmp_path, override, met):
    done = cxr("label", "job=reports", "job.name=r3", override, root=tmp_path, fails=True)

    assert met in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "jobs" / "r3").exists()


def test_a_thousand_texts_link_and_link_again(tmp_path, store):
    with FolderPacs(tmp_path / "pacs") as pacs:
        for number in range(20):
            pacs.store(mimic(number + 1, "10000032", str(50_000_000 + number)))
        texts = {f"p10/p10000032/s{50_000_000 + n}.txt": WHOLE["normal"][0] for n in range(1000)}
        folder = tree(tmp_path / "r", texts)

        first = reports.link(folder, pacs, store)
        again = reports.link(folder, pacs, store)

    assert (first.new, len(first.unlinked)) == (20, 980)
    assert (again.same, len(again.unlinked)) == (20, 980)
