"""The Lambdas on whole events, as Ground Truth sends them and as the local portal does."""

import json
import re

import lambda_site
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lambda_site import EVENTS, JOBS, KEY, PAYLOAD, event
from specimens import document

from cxr.contract import jobs, labels, signing
from cxr.infra.aws import lambdas
from cxr.labeling import handlers

LOCAL = {
    "CXR_PACS_URL": "https://pacs.example",
    "CXR_TOKEN_KEY": KEY,
    "CXR_TOKEN_TTL_S": "600",
    "CXR_VIEWER_URL": "https://assets.example/viewer-1.js",
    "CXR_TEMPLATE_SHA": "5d41",
}
NAMES = labels.from_names(["Atelectasis", "Cardiomegaly", "Support Devices", "No Finding"])
SOURCE = event("pre_annotation")["dataObject"]["source"]


@pytest.fixture(scope="module")
def secret(aws):
    """One job in an S3 and a Secrets Manager."""
    return lambda_site.furnish(aws)


@pytest.fixture
def on_aws(aws, secret, monkeypatch):
    """The environment that the stack gives the functions."""
    for name in LOCAL:
        monkeypatch.delenv(name, raising=False)
    given = {"CXR_JOBS": JOBS, "CXR_TOKEN_SECRET": secret, "CXR_PACS_URL": "https://pacs.example/"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return aws


def signed(text, keys=KEY):
    """An answer's text with every token taken out, and what the tokens claim."""
    tokens = re.findall(r"token=([\w.-]+)", text)
    claims = [signing.verify(signing.keys_from_text(keys), token) for token in tokens]
    return json.loads(re.sub(r"token=[\w.-]+", "token=TOKEN", text)), claims


def expected(name):
    return json.loads((EVENTS / f"{name}.expected.json").read_text())


@pytest.mark.parametrize(
    "name", ["pre_annotation_chained", "pre_annotation_source_ref", "pre_annotation_public_sample"]
)
def test_a_line_of_a_job_becomes_its_whole_task(on_aws, name):
    if name != "pre_annotation_chained":  # jobs of their own, with settings of their own
        given = event("job_settings") | {"labelSet": None, "attribute": name}
        job = jobs.name_of(event(name)["labelingJobArn"])
        lambda_site.put(on_aws, f"cxr/jobs/{jobs.key(job)}", given)

    answer = handlers.load("pre_annotation")(event(name), None)

    met, claims = signed(json.dumps(answer))
    assert met == expected(name)
    assert {claim["exp"] - claim["iat"] for claim in claims} <= {867600}


def test_each_image_url_opens_its_own_image(on_aws):
    answer = handlers.load("pre_annotation")(event("pre_annotation_chained"), None)

    task = answer["taskInput"]
    for url in (task["imageUrl"], task["companions"][0]["imageUrl"]):
        _, (claims,) = signed(json.dumps(url))
        assert claims["scope"] == ["i:" + url.partition("/instances/")[2].partition("/")[0]]


@pytest.fixture
def own_key(on_aws, secret):
    """A job whose links nothing but its own key may sign; gives what puts keys in the secret."""
    settings = event("job_settings")
    where = f"cxr/jobs/{jobs.key('chest-1')}"
    kid = signing.new_job_kid("chest-1")
    lambda_site.put(on_aws, where, settings | {"tokenKid": kid})

    def put(text):
        on_aws.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)

    yield kid, put
    put(KEY)
    lambda_site.put(on_aws, where, settings)


def image_url(handler):
    return handler(event("pre_annotation_chained"), None)["taskInput"]["imageUrl"]


def test_a_job_signs_with_its_own_key_as_soon_as_there_is_one(own_key):
    kid, put = own_key
    handler = handlers.load("pre_annotation")
    with pytest.raises(Exception, match=r"^error ConfigError, field tokenKid, line cxr/contract"):
        image_url(handler)  # links by the general key would outlive the job
    text = signing.with_job(KEY, kid)
    put(text)

    after = image_url(handler).partition("token=")[2]  # of a function that is warm

    with pytest.raises(Exception, match="wrong signature"):
        signing.verify(signing.keys_from_text(KEY), after)
    assert signing.verify(signing.keys_from_text(text), after)


def test_a_job_begun_again_is_not_signed_for_by_the_key_it_had(on_aws, own_key):
    kid, put = own_key
    put(signing.with_job(KEY, kid))
    warm = handlers.load("pre_annotation")
    image_url(warm)
    again = signing.new_job_kid("chest-1")
    lambda_site.put(
        on_aws, f"cxr/jobs/{jobs.key('again-1')}", event("job_settings") | {"tokenKid": again}
    )
    put(text := signing.with_job(KEY, again))

    told = event("pre_annotation_chained")
    told["labelingJobArn"] = told["labelingJobArn"].replace("chest-1", "again-1")
    token = warm(told, None)["taskInput"]["imageUrl"].partition("token=")[2]

    assert signing.verify(signing.keys_from_text(text), token)


@pytest.mark.parametrize("name", ["source", "source_ref", "whole_line"])
def test_answers_become_one_whole_label_per_data_object(on_aws, name):
    request = "consolidation_request" + ("" if name == "source" else f"_{name}")
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}{name}.json"
    lambda_site.put(on_aws, f"{PAYLOAD}{name}.json", event(request))

    answer = handlers.load("post_annotation")(given, None)

    assert answer == expected(request)


def test_settings_that_may_not_be_read_are_not_taken_for_absent(on_aws):
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}source.json"
    lambda_site.put(on_aws, f"{PAYLOAD}source.json", event("consolidation_request"))
    handler = handlers.load("post_annotation")
    denied = on_aws.faults.deny("s3:GetObject", "*/settings.json")

    with denied, pytest.raises(Exception, match=r"code AccessDenied, action GetObject"):
        handler(given, None)


def on_this_machine(folder, name="consolidation_request"):
    """The event that the portal would send, with S3's folders on disk."""
    text = (EVENTS / f"{name}.json").read_text()
    path = folder / "a request.json"  # the space is escaped in a URI
    path.write_text(text.replace("s3://cxr-bucket", EVENTS.as_uri()))
    return event("post_annotation") | {"payload": {"s3Uri": path.as_uri()}}


@pytest.mark.parametrize(
    "name",
    ["consolidation_request", "consolidation_request_source_ref",
     "consolidation_request_whole_line"],
)  # fmt: skip
@pytest.mark.parametrize("told", ["by the job", "by the answers"])
def test_the_portal_makes_of_the_same_answers_the_same_bytes(tmp_path, name, told):
    asked = jobs.label_set_document(NAMES)
    environment = {"CXR_LABEL_SET": json.dumps(asked)} if told == "by the job" else {}

    answer = handlers.load("post_annotation", environment)(on_this_machine(tmp_path, name), None)

    assert json.dumps(answer) == json.dumps(expected(name))


def test_what_is_asked_shows_in_what_follows(tmp_path):
    parents = {"Cardiomegaly": ("Atelectasis",)}
    asked = labels.LabelSet("x", NAMES.names, "No Finding", ("Support Devices",), parents)
    environment = {"CXR_LABEL_SET": json.dumps(jobs.label_set_document(asked))}
    given = on_this_machine(tmp_path, "consolidation_request_source_ref")

    (entry,) = handlers.load("post_annotation", environment)(given, None)

    found = entry["consolidatedAnnotation"]["content"]["chest-1"]
    assert [item["label"] for item in found["findings"]] == list(NAMES.names)


def broken(folder, answer):
    """A batch whose second object has an answer that is none."""
    batch = event("consolidation_request")
    batch[1]["annotations"][0]["annotationData"] = {"content": answer}
    (folder / "batch.json").write_text(json.dumps(batch))
    return event("post_annotation") | {
        "payload": {"s3Uri": (folder / "batch.json").as_uri()}
    }, batch


SECRETLY = "Miller^Anna, 1932"


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (json.dumps({"annotation": json.dumps({"schema": SECRETLY})}), "schema"),
        (SECRETLY, "content"),
        (
            json.dumps(
                {"annotation": json.dumps(document("aaaa", NAMES, comment={"a": SECRETLY}))}
            ),
            "comment",
        ),
        (
            json.dumps(
                {"annotation": json.dumps(document("aaaa", NAMES, findings=[{"label": SECRETLY}]))}
            ),
            "findings[0].label",
        ),
        (json.dumps({"annotation": json.dumps([SECRETLY])}), "schema"),
    ],
)
def test_one_answer_that_is_none_costs_no_other_object(on_aws, tmp_path, capsys, answer, field):
    _, batch = broken(tmp_path, answer)
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}broken.json"
    lambda_site.put(on_aws, f"{PAYLOAD}broken.json", batch)

    entries = handlers.load("post_annotation")(given, None)

    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert entries == expected("consolidation_request")[:1]
    assert told["consolidated"] == 1
    (failed,) = told["failed"]
    assert failed.pop("line").startswith("cxr/contract/")
    assert failed == {"object": "1", "error": "AnnotationError", "field": field}
    assert not set(re.findall(r"\w+", line)) & {"Miller", "Anna", "1932", "0a1b", SOURCE[:8]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "s3Uri", "workerId", "annotation", "disease", "labels"]),
            inner,
        )
    ),
    max_leaves=6,
)
ANSWERED = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("image", "findings", "rois", "quality", "comment", "skipped", "timing"), JSON
    ),
).map(lambda changes: json.dumps({"annotation": json.dumps(document("aapa", NAMES) | changes)}))
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "workerId": JSON,
        "annotationData": st.fixed_dictionaries({"content": JSON | ANSWERED}) | JSON,
    },
)
ITEM = JSON | st.fixed_dictionaries(
    {"datasetObjectId": st.just("1"), "annotations": st.lists(GIVEN, max_size=2) | JSON},
    optional={"dataObject": JSON | st.fixed_dictionaries({"content": JSON.map(json.dumps)})},
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ITEM)
def test_no_object_however_odd_costs_another(on_aws, item):
    lambda_site.put(on_aws, f"{PAYLOAD}odd.json", [*event("consolidation_request")[:1], item])
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}odd.json"

    entries = handlers.load("post_annotation")(given, None)

    assert entries[0] == expected("consolidation_request")[0]


def test_a_batch_too_large_for_a_reply_keeps_every_label(on_aws, capsys):
    small, second = event("consolidation_request")
    long = json.dumps({"annotation": json.dumps(document("paaa", NAMES, comment="x" * 2_000_000))})
    batch = [small]
    for i in range(1, 5):
        held = [{"workerId": "w", "annotationData": {"content": long}}]
        batch.append(second | {"datasetObjectId": str(i), "annotations": held})
    lambda_site.put(on_aws, f"{PAYLOAD}long.json", batch)
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}long.json"

    entries = handlers.load("post_annotation")(given, None)

    assert len(json.dumps(entries)) < 6_000_000
    assert entries[0] == expected("consolidation_request")[0]
    contents = [entry["consolidatedAnnotation"]["content"]["chest-1"] for entry in entries]
    assert {content["findings"][0]["state"] for content in contents[1:]} == {"present"}
    assert ["annotationsFromAllWorkers" in content for content in contents] == [
        True, False, False, True, True
    ]  # fmt: skip
    assert json.loads(capsys.readouterr().out)["shortened"] == 2


def test_on_this_machine_an_answer_that_is_none_is_shown(tmp_path):
    given, _ = broken(tmp_path, '{"annotation": "{}"}')

    with pytest.raises(Exception, match=r"^data object 1: schema: expected .cxr-annotation/1"):
        handlers.load("post_annotation", {})(given, None)


@pytest.mark.parametrize(
    ("change", "kind", "field"),
    [
        ({"source": "../../system"}, "ManifestError", "source"),
        ({"source": SOURCE + "/../../tools"}, "ManifestError", "source"),
        ({"source": SOURCE + "\n"}, "ManifestError", "source"),
        ({"source": SOURCE.upper()}, "ManifestError", "source"),
        ({"source": [SOURCE]}, "ManifestError", "source"),
        ({"source": None}, "ManifestError", "source-ref"),
        ({"source": None, "source-ref": "https://elsewhere.example/a"}, "ManifestError",
         "source-ref"),
        ({"source": None, "source-ref": "s3://b"}, "ManifestError", "source-ref"),
        ({"labels": f"Edema,{SECRETLY}"}, "LabelError", "labels"),
        ({"labels": 3}, "LabelError", "labels"),
        ({"companions": [{"kind": "prior", "source": "a/b"}]}, "ManifestError",
         "companions[0].source"),
        ({"companions": [{"source": SOURCE}]}, "KeyError", ""),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_shown_is_refused_without_quoting_it(on_aws, change, kind, field):
    given = event("pre_annotation_chained")
    given["dataObject"] |= change
    place = f", field {re.escape(field)}" if field else ""

    with pytest.raises(Exception, match=rf"^error {kind}{place}, line [\w/]+\.py:\d+$") as met:
        handlers.load("pre_annotation")(given, None)

    assert met.value.__cause__ is met.value.__context__ is None


def test_the_portal_says_what_is_wrong_with_a_line():
    given = event("pre_annotation")
    given["dataObject"]["source"] = "../../system"

    with pytest.raises(Exception, match=r"expected an Orthanc instance ID .* '\.\./\.\./system'"):
        handlers.load("pre_annotation", LOCAL)(given, None)


def test_a_line_without_labels_is_asked_what_its_job_asks(on_aws):
    given = event("pre_annotation_chained")
    del given["dataObject"]["labels"]

    task = handlers.load("pre_annotation")(given, None)["taskInput"]

    assert tuple(task["labels"]) == NAMES.names


def test_a_job_without_settings_says_where_they_ought_to_be(on_aws):
    given = event("pre_annotation_chained")
    given["labelingJobArn"] = "arn:aws:sagemaker:eu-central-1:123456789012:labeling-job/other"

    with pytest.raises(Exception, match="error ConfigError, field CXR_JOBS, line pre_annotation"):
        handlers.load("pre_annotation")(given, None)


def test_answers_outlive_the_settings_of_their_job(on_aws):
    given = event("post_annotation")
    given["labelingJobArn"] = "arn:aws:sagemaker:eu-central-1:123456789012:labeling-job/other"
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}other.json"
    lambda_site.put(on_aws, f"{PAYLOAD}other.json", event("consolidation_request"))

    answer = handlers.load("post_annotation")(given, None)

    assert answer == expected("consolidation_request")


def test_what_aws_refuses_is_told_by_code_and_action(on_aws):
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/Miller/absent.json"

    with pytest.raises(
        Exception,
        match=r"^error NoSuchKey, code NoSuchKey, action GetObject, line post_annotation\.py:\d+$",
    ) as met:
        handlers.load("post_annotation")(given, None)

    assert met.value.__cause__ is met.value.__context__ is None


def test_a_task_is_told_in_one_line_of_counts(on_aws, capsys):
    class Context:
        aws_request_id = "8f5e"

    handlers.load("pre_annotation")(event("pre_annotation_chained"), Context())

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "pre-annotation", "request": "8f5e", "job": "chest-1", "labels": 4,
         "companions": 1, "image": "https"}
    ]  # fmt: skip


def test_the_portal_prints_nothing(tmp_path, capsys):
    handlers.load("pre_annotation", LOCAL)(event("pre_annotation"), None)
    handlers.load("post_annotation", {})(on_this_machine(tmp_path), None)

    assert capsys.readouterr() == ("", "")


def test_a_file_of_the_functions_machine_is_never_read(on_aws, tmp_path):
    (tmp_path / "batch.json").write_text("[]")
    given = event("post_annotation") | {"payload": {"s3Uri": (tmp_path / "batch.json").as_uri()}}

    with pytest.raises(Exception, match=r"^error ParamValidationError"):
        handlers.load("post_annotation")(given, None)


@pytest.fixture(scope="module")
def deployed(aws, secret, tmp_path_factory):
    """Both functions, from the zip, as the stack deploys them."""
    path = tmp_path_factory.mktemp("zip") / "lambdas.zip"
    lambdas.build(path)
    given = {"CXR_JOBS": JOBS, "CXR_TOKEN_SECRET": secret, "CXR_PACS_URL": "https://pacs.example/"}
    for name in ("pre_annotation", "post_annotation"):
        aws.function(f"told-{name}", path.read_bytes(), f"{name}.handler", given)
    return aws


def invoked(aws, name, given):
    reply = aws.client("lambda").invoke(FunctionName=f"told-{name}", Payload=json.dumps(given))
    return json.loads(reply["Payload"].read()), reply.get("FunctionError")


def test_what_runs_on_aws_answers_the_same(deployed):
    lambda_site.put(deployed, f"{PAYLOAD}told.json", event("consolidation_request"))
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}told.json"

    task, _ = invoked(deployed, "pre_annotation", event("pre_annotation_chained"))
    labelled, _ = invoked(deployed, "post_annotation", given)

    assert signed(json.dumps(task))[0] == expected("pre_annotation_chained")
    assert labelled == expected("consolidation_request")


def test_no_log_holds_an_answer_a_source_a_worker_or_a_token(deployed, tmp_path):
    line = event("pre_annotation_chained")
    bad = event("pre_annotation_chained")
    bad["dataObject"] |= {"source": SECRETLY, "labels": f"Edema,{SECRETLY}"}
    _, batch = broken(tmp_path, json.dumps({"annotation": json.dumps({"schema": SECRETLY})}))
    batch.append({"datasetObjectId": SECRETLY, "annotations": [{"workerId": [SECRETLY]}]})
    lambda_site.put(deployed, f"{PAYLOAD}log.json", batch)
    given = event("post_annotation")
    given["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{PAYLOAD}log.json"
    lost = event("post_annotation")
    lost["payload"]["s3Uri"] = f"s3://{lambda_site.BUCKET}/{SOURCE}.json"

    task, _ = invoked(deployed, "pre_annotation", line)
    refused, failed = invoked(deployed, "pre_annotation", bad)
    labelled, _ = invoked(deployed, "post_annotation", given)
    unread, unfound = invoked(deployed, "post_annotation", lost)

    told = deployed.logs["told-pre_annotation"] + deployed.logs["told-post_annotation"]
    told += json.dumps([refused, unread])
    assert failed
    assert unfound
    assert [entry["datasetObjectId"] for entry in labelled] == ["0"]
    token = task["taskInput"]["imageUrl"].partition("token=")[2]
    hidden = {*re.findall(r"\w+", SECRETLY), SOURCE[:8], "0a1b", "0a1c", "Cardiomegaly", token}
    assert not [word for word in hidden if word in told]
    assert '"consolidated":1' in told  # it is the log that was searched
    assert '{"object":"?","error":"AnnotationError","field":"annotations[0].workerId"' in told
