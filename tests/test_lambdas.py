"""The Lambdas on whole events, from the zip that AWS would get: the standard library alone."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from specimens import document

from cxr.contract import labels, signing
from cxr.labeling import handlers

ROOT = Path(__file__).parents[1]
EVENTS = ROOT / "tests" / "events"
KEY = "k1:" + "5a" * 32
SETTINGS = {
    "CXR_PACS_URL": "https://pacs.example",
    "CXR_TOKEN_KEY": KEY,
    "CXR_TOKEN_TTL_S": "600",
    "CXR_VIEWER_URL": "https://assets.example/viewer-1.js",
    "CXR_TEMPLATE_SHA": "5d41",
}


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.fixture
def settings(monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


def request(folder):
    """Lay the consolidation request and what it refers to on disk, and give the event.

    Bucket names become folders: the handler reads file:// where AWS gives it s3://.
    """
    text = (EVENTS / "consolidation_request.json").read_text()
    path = folder / "a request.json"  # the space is escaped in a URI
    path.write_text(text.replace("s3://cxr-bucket", folder.as_uri()))
    for name, said in (("0a1b", "aapa"), ("0a1c", "ppaa")):
        answer = folder / "answers" / "7" / f"{name}.json"
        answer.parent.mkdir(parents=True, exist_ok=True)
        names = labels.from_names(["Atelectasis", "Cardiomegaly", "Support Devices", "No Finding"])
        answer.write_text(json.dumps({"annotation": json.dumps(document(said, names))}))
    (folder / "objects").mkdir()
    line = {"source-ref": "s3://cxr-images/a.dcm", "labels": list(names.names)}
    (folder / "objects" / "7.json").write_text(json.dumps(line))
    return event("post_annotation") | {"payload": {"s3Uri": path.as_uri()}}


def test_a_data_object_becomes_a_task(settings):
    given = event("pre_annotation")

    answer = handlers.load("pre_annotation")(given, None)

    source = given["dataObject"]["source"]
    task = answer["taskInput"]
    image_url = task.pop("imageUrl")
    assert answer["isHumanAnnotationRequired"] is True
    assert task == {
        "source": source,
        "jobId": "chest-1",
        "itemId": source,
        "labels": given["dataObject"]["labels"].split(","),
        "noFinding": "No Finding",
        "compatible": ["Support Devices"],
        "parents": given["dataObject"]["label-parents"],
        "instructions": "",
        "examples": [],
        "page": {},
        "shown": {},
        "unit": "image",
        "companions": [],
        "viewerSrc": "https://assets.example/viewer-1.js",
        "templateSha": "5d41",
        "viewerSha": "",
    }
    address, _, token = image_url.partition("?token=")
    claims = signing.verify(signing.keys_from_text(KEY), token)
    assert address == f"https://pacs.example/instances/{source}/file"
    assert claims["scope"] == [f"i:{source}"]
    assert claims["exp"] - claims["iat"] == 600


def test_an_image_in_s3_is_left_to_grant_read_access(settings):
    given = event("pre_annotation_source_ref")

    task = handlers.load("pre_annotation")(given, None)["taskInput"]

    assert task["imageUrl"] == task["source"] == task["itemId"] == given["dataObject"]["source-ref"]
    assert task["labels"] == given["dataObject"]["labels"]
    assert task["noFinding"] == "No Finding"
    assert task["parents"] == {}


def test_a_data_object_without_labels_fails_loudly(settings):
    with pytest.raises(Exception, match='expected "labels" as comma-separated names or a list'):
        handlers.load("pre_annotation")({"dataObject": {"source": "a"}}, None)


def test_answers_become_one_label_per_data_object(tmp_path):
    result = handlers.load("post_annotation")(request(tmp_path), None)

    assert [entry["datasetObjectId"] for entry in result] == ["0", "7"]
    first, second = (entry["consolidatedAnnotation"]["content"]["chest-1"] for entry in result)
    assert {item["label"]: item["state"] for item in first["findings"]} == {
        "Atelectasis": "absent",
        "Cardiomegaly": "present",
        "Support Devices": "present",
        "No Finding": "absent",
    }
    assert [(roi["workerId"], roi["label"]) for roi in first["rois"]] == [
        ("private.eu-central-1.0a1b", "Cardiomegaly")
    ]
    assert len(first["annotationsFromAllWorkers"]) == 3
    assert [item["state"] for item in second["findings"]] == ["uncertain"] * 4
    assert second["findings"][0]["reason"] == "no_majority"
    json.dumps(result, allow_nan=False)


def test_an_answer_that_cannot_be_read_names_its_object(tmp_path):
    given = request(tmp_path)
    (tmp_path / "answers" / "7" / "0a1c.json").write_text('{"annotation": "{}"}')

    with pytest.raises(Exception, match=r"^data object 7: schema: expected .cxr-annotation/1"):
        handlers.load("post_annotation")(given, None)


RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
handler = __import__(sys.argv[2]).handler
print(json.dumps(handler(json.load(sys.stdin), None)))
files = [str(getattr(module, "__file__", "")) for module in sys.modules.values()]
assert not [file for file in files if "site-packages" in file]
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The zip: the handlers, the contract and the errors."""
    path = tmp_path_factory.mktemp("zip") / "lambdas.zip"
    files = [
        *(ROOT / "lambdas").glob("*.py"),
        *(ROOT / "src" / "cxr" / "contract").glob("*.py"),
        ROOT / "src" / "cxr" / "errors.py",
        ROOT / "src" / "cxr" / "__init__.py",
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            base = ROOT / ("lambdas" if file.parent.name == "lambdas" else "src")
            archive.write(file, file.relative_to(base))
    return path


def in_the_zip(bundle, name, given, **environment):
    # -I -S: no site-packages, no working folder, no PYTHONPATH
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUN, str(bundle), name],
        input=json.dumps(given), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_zip_runs_on_the_standard_library_alone(bundle, tmp_path):
    pre = in_the_zip(bundle, "pre_annotation", event("pre_annotation"), **SETTINGS)
    post = in_the_zip(bundle, "post_annotation", request(tmp_path))

    assert pre["taskInput"]["labels"][0] == "Atelectasis"
    assert post == handlers.load("post_annotation")(
        event("post_annotation") | {"payload": {"s3Uri": (tmp_path / "a request.json").as_uri()}},
        None,
    )
    assert bundle.stat().st_size < 50_000
