"""The request CreateLabelingJob, held against the service model that AWS publishes; offline."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import botocore.session
import ground_truth
import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from specimens import LABELS

from cxr import config, schema
from cxr.contract import jobs, manifest
from cxr.errors import AwsError, ConfigError, JobError, ManifestError
from cxr.infra.aws import requests
from cxr.labeling import Job, Page, page
from cxr.labeling.groundtruth import GroundTruthLabeling, request, sending
from cxr.labeling.groundtruth import settings as gt_settings

ROOT = Path(__file__).parents[1]
SHAPE = (
    botocore.session.get_session()
    .get_service_model("sagemaker")
    .operation_model("CreateLabelingJob")
    .input_shape
)
LINES = [{"source": f"{n:08x}", "labels": "Edema,No Finding"} for n in range(3)]


def job(folder, **changes):
    made = Job("chest", folder, LABELS, page=Page("look"), **changes)
    manifest.write(made.input_manifest, LINES)
    return made


def plan(folder, name="chest", lines=LINES, account=None, **changes):
    given = ground_truth.settings(**changes)
    return request.plan(job(folder), given, account or ground_truth.account(), lines, name)


def values(shape):
    """Values that a shape takes, drawn from the very model that the validator reads."""
    meta = shape.metadata
    kind = shape.type_name
    if kind == "structure":
        members = {name: values(inner) for name, inner in shape.members.items()}
        must = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(must, optional=members)
    if kind == "list":
        most = min(meta.get("max", 3), max(3, meta.get("min", 0)))
        return st.lists(values(shape.member), min_size=meta.get("min", 0), max_size=most)
    if kind == "boolean":
        return st.booleans()
    if kind != "string":
        return st.integers(meta.get("min", 0), meta.get("max", 10**6))
    if "enum" in meta:
        return st.sampled_from(meta["enum"])
    low, high = meta.get("min", 0), meta.get("max", 500)
    pattern = meta.get("pattern", ".*")
    if r"\p{" in pattern:
        pattern = "[A-Za-zäß0-9 _.:/=+@-]*"
    found = st.from_regex(re.compile(pattern), fullmatch=True)
    return found.filter(lambda text: low <= len(text) <= high)


@settings(max_examples=25)
@given(values(SHAPE))
def test_whatever_the_model_allows_is_found_right(asked):
    assert requests.problems("sagemaker", "CreateLabelingJob", asked) == []


WRONG = [
    (("LabelingJobName",), "x" * 64, "at most 63 characters"),
    (("LabelingJobName",), "chest-", "what matches"),
    (("LabelAttributeName",), "chest_labels", "what matches"),
    (("HumanTaskConfig", "NumberOfHumanWorkersPerDataObject"), 10, "at most 9"),
    (("HumanTaskConfig", "NumberOfHumanWorkersPerDataObject"), 0, "at least 1"),
    (("HumanTaskConfig", "NumberOfHumanWorkersPerDataObject"), True, "an integer"),
    (("HumanTaskConfig", "NumberOfHumanWorkersPerDataObject"), "1", "an integer"),
    (("HumanTaskConfig", "TaskTimeLimitInSeconds"), 29, "at least 30"),
    (("HumanTaskConfig", "MaxConcurrentTaskCount"), 5001, "at most 5000"),
    (("HumanTaskConfig", "TaskKeywords"), ["chest X-ray"], "what matches"),
    (("HumanTaskConfig", "TaskKeywords"), [], "at least 1 entries"),
    (("HumanTaskConfig", "TaskKeywords"), ["a"] * 6, "at most 5 entries"),
    (("HumanTaskConfig", "TaskKeywords"), "chest", "a list"),
    (("HumanTaskConfig", "TaskTitle"), "x" * 129, "at most 128 characters"),
    (("HumanTaskConfig", "TaskDescription"), "two\nlines", "what matches"),
    (("HumanTaskConfig", "WorkteamArn"), "radiology", "what matches"),
    (("HumanTaskConfig", "TaskTitle"), None, "text"),
    (("HumanTaskConfig",), "all of it", "members"),
    (("InputConfig", "DataAttributes"), {"ContentClassifiers": ["Harmless"]}, "one of FreeOf"),
    (("OutputConfig", "S3OutputPath"), "bucket/out", "what matches"),
    (("Tags",), [{"Key": "a", "Value": "50 €"}], "what matches"),
    (("Tags",), [{"Key": "a", "Value": "b"}] * 51, "at most 50 entries"),
    (("Nonsense",), 1, "no such member"),
]


@pytest.mark.parametrize(("place", "value", "expected"), WRONG, ids=lambda part: str(part)[:40])
def test_what_the_service_would_refuse_is_refused_here(tmp_path, place, value, expected):
    asked = copy.deepcopy(plan(tmp_path).request)
    inner = asked
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value

    told, *_ = requests.problems("sagemaker", "CreateLabelingJob", asked)

    assert re.match(rf"{re.escape('.'.join(place))}.*{re.escape(expected)}", told)
    with pytest.raises(AwsError, match=f"^CreateLabelingJob: {re.escape(told)}"):
        requests.check("sagemaker", "CreateLabelingJob", asked)


@settings(max_examples=25)
@given(values(SHAPE), st.data())
def test_every_required_member_is_missed(asked, data):
    places = [(asked, SHAPE)]
    places += [(asked["HumanTaskConfig"], SHAPE.members["HumanTaskConfig"])]
    holder, shape = data.draw(st.sampled_from(places))
    name = data.draw(st.sampled_from(shape.required_members))
    del holder[name]

    told = requests.problems("sagemaker", "CreateLabelingJob", asked)

    assert [line.rpartition(": ")[2] for line in told] == ["expected a value, met none"]
    assert told[0].partition(":")[0].endswith(name)


def test_several_things_wrong_are_counted():
    with pytest.raises(AwsError, match=r"InputConfig: expected a value, met none \(and 3 more\)$"):
        requests.check("sagemaker", "CreateLabelingJob", {"LabelAttributeName": "a", "Tags": []} | {
            "LabelingJobName": "a"
        })  # fmt: skip


def test_a_job_is_asked_for_as_it_was_configured(tmp_path):
    key = "arn:aws:kms:eu-central-1:123456789012:key/1"
    made = plan(tmp_path, account=ground_truth.account(kms_key=key, tags={"project": "cxr"}))

    assert ParamValidator().validate(made.request, SHAPE).generate_report() == ""
    assert made.request["LabelAttributeName"] == "chest"
    assert made.request["OutputConfig"]["KmsKeyId"] == key
    assert "DataAttributes" not in made.request["InputConfig"]
    assert "FreeOf" not in json.dumps(made.request)
    tags = {tag["Key"]: tag["Value"] for tag in made.request["Tags"]}
    assert tags == {"project": "cxr", "cxr-job": "chest", "cxr-request": made.sha}
    assert made.categories["labels"][0] == {"label": LABELS.names[0]}


def test_the_lambdas_read_the_settings_that_are_written(tmp_path):
    told = jobs.parse(json.dumps(plan(tmp_path, link_margin_s=60).settings))

    assert told.label_set == LABELS
    assert told.attribute == "chest"
    assert told.viewer_url.startswith("s3://cxr-bucket/cxr/jobs/chest/viewer-")
    assert told.template_sha == page.sha(page.template_text())
    assert told.token_ttl_s == 864_000 + 3600 + 60


@pytest.mark.parametrize(
    ("job_comments", "free_text", "shown"),
    [(True, False, False), (True, True, True), (False, True, False)],
)
def test_free_text_is_off_unless_both_want_it(tmp_path, job_comments, free_text, shown):
    made = Job("chest", tmp_path, LABELS, page=Page(comments=job_comments))
    given_ = ground_truth.settings(free_text=free_text)
    told = request.plan(made, given_, ground_truth.account(), LINES, "chest")

    assert told.settings["page"]["comments"] is shown


def test_another_request_has_another_sha(tmp_path):
    shas = {
        plan(tmp_path).sha,
        plan(tmp_path, lines=LINES[:2]).sha,
        plan(tmp_path, title="Look").sha,
        plan(tmp_path, free_text=True).sha,
        plan(tmp_path, name="chest-2").sha,
    }

    assert len(shas) == 5
    assert plan(tmp_path).sha in shas


def test_labels_of_earlier_jobs_stay_at_home_and_are_not_asked_again(tmp_path):
    made = Job("chest", tmp_path, LABELS)
    first = {**LINES[0], "chest": {}, "chest-metadata": {}}
    other = {**LINES[1], "xray": {"huge": "x" * 200_000}, "xray-metadata": {}, "mine": 1}
    manifest.write(made.input_manifest, [first, other], max_line=None)

    lines = sending.unlabelled(made)
    sent = sending.offered(lines, ground_truth.account(), made, copied=False)

    assert sent == [LINES[1] | {"mine": 1}]


def test_a_copied_image_is_known_by_its_source(tmp_path):
    made = Job("Chest", tmp_path, LABELS)
    line = LINES[0] | {"companions": [{"kind": "prior", "source": "b"}]}

    (sent,) = sending.offered([line], ground_truth.account(), made, copied=True)

    assert sent["source-ref"] == "s3://cxr-bucket/cxr/jobs/chest/images/00000000.dcm"
    assert "source" not in sent
    assert sent["companions"][0]["source-ref"].endswith("/jobs/chest/images/b.dcm")
    assert sending.local_source(sent) == "00000000"
    assert sending.local_source({"source-ref": "s3://a/b.dcm"}) == "s3://a/b.dcm"


def test_an_image_stands_in_a_manifest_once(tmp_path):
    made = Job("chest", tmp_path, LABELS)
    manifest.write(made.input_manifest, [LINES[0], LINES[0]])

    with pytest.raises(JobError, match="expected each image once, met '00000000' twice"):
        sending.unlabelled(made)


def test_a_job_has_something_to_label_and_a_name(tmp_path):
    with pytest.raises(JobError, match="expected 1 to 100000 images to label, met 0"):
        plan(tmp_path, lines=[])
    with pytest.raises(ManifestError, match="expected a job name"):
        plan(tmp_path, name="chest_2")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"role_arn": None}, "^labeling.role_arn: expected an ARN, met none; set it, or aws.stack"),
        (
            {"token_secret_arn": None},
            "^labeling.token_secret_arn: expected an ARN, met none; set it, labeling.images=s3, or "
            "scripts/stack.py up labeling … --from <pacs stack>",
        ),
        (
            {"pre_lambda_arn": ground_truth.arn("lambda", "function:pre", "us-east-1")},
            "^labeling.pre_lambda_arn: .* aws.region eu-central-1, met us-east-1",
        ),
        (
            {"workteam_arn": "arn:aws:sagemaker:eu-central-1:394669845002:workteam/public-crowd/d"},
            "^labeling.workteam_arn: .* met the public workforce, which wants a price",
        ),
        (
            {"workteam_arn": ground_truth.arn("sagemaker", "workteam/vendor-crowd/v")},
            "^labeling.workteam_arn: expected a private team, met a vendor's",
        ),
        (
            {"workteam_arn": ground_truth.arn("sagemaker", "workteam/radiology")},
            r"^labeling.workteam_arn: expected …:workteam/private-crowd/<team>",
        ),
    ],
    ids=lambda part: str(part)[:30],
)
def test_what_cannot_work_is_refused_before_anything_starts(changes, told):
    with pytest.raises(ConfigError, match=told):
        gt_settings.check(ground_truth.settings(**changes), ground_truth.account())


def test_teams_and_secrets_that_may_be_are_taken():
    vendor = ground_truth.arn("sagemaker", "workteam/vendor-crowd/v")
    gt_settings.check(
        ground_truth.settings(workteam_arn=vendor, allow_public=True), ground_truth.account()
    )
    gt_settings.check(
        ground_truth.settings(images="s3", token_secret_arn=None), ground_truth.account()
    )


def test_a_bucket_and_the_right_account_are_wanted():
    with pytest.raises(ConfigError, match=r"^aws.bucket: expected the bucket"):
        gt_settings.check(ground_truth.settings(), ground_truth.account(bucket=None))
    with pytest.raises(ConfigError, match=r"labeling.role_arn: .* aws.account 210987654321, met"):
        gt_settings.check(ground_truth.settings(), ground_truth.account(expected="210987654321"))


def test_a_job_of_the_portal_stays_there(tmp_path):
    made = job(tmp_path)
    (tmp_path / "answers.db").touch()
    backend = GroundTruthLabeling(
        pacs=None, account=ground_truth.account(), given=ground_truth.settings()
    )

    with pytest.raises(JobError, match="'chest' was begun at the local portal; choose another"):
        backend.dry_run(made)


def test_nothing_is_offered_again_of_a_job_that_never_was(tmp_path):
    backend = GroundTruthLabeling(
        pacs=None, account=ground_truth.account(), given=ground_truth.settings()
    )

    with pytest.raises(JobError, match=r"^requeue: expected a job that was begun, met .chest."):
        backend.dry_run(job(tmp_path), requeue=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("job.honeypots={manifest: x, share: 0.1}", "job.honeypots: expected null"),
        ("job.repeats=0.1", "job.repeats: expected 0"),
        ("job.consolidation=adjudicated", "job.consolidation: expected majority, dawid"),
        ("job.closes=lead", "job.closes: expected done"),
        ("job.answers=x.csv", "job.answers: expected null"),
        ("team=scripted", "team: expected no scripted readers"),
        ("audit=verify", "audit: expected labeling=local"),
        ("reopen=true", "reopen: expected labeling=local"),
        ("preview=true dry_run=true", "preview: expected it alone"),
        ("labeling=local dry_run=true", "dry_run: expected labeling=groundtruth"),
        ("labeling=local requeue=true", "requeue: expected labeling=groundtruth"),
    ],
)
def test_what_only_the_portal_has_is_refused_by_its_key(monkeypatch, words, told):
    monkeypatch.setenv("AWS_REGION", ground_truth.REGION)
    given_ = ["aws=account", "labeling=groundtruth", "job=frontal"]
    given_ += re.split(r" (?=[a-z_.]+=)", words)

    with pytest.raises(ConfigError, match=f"^{re.escape(told)}"):
        config.check(config.compose("label", given_), schema.Label)


def test_a_dry_run_prints_the_whole_request_and_never_asks_aws(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CXR_", "AWS_"))}
    environment = kept | {
        "PYTHONPATH": str(ROOT / "src"), "CXR_ROOT": str(tmp_path), "CXR_BUCKET": "cxr-bucket",
        "AWS_REGION": ground_truth.REGION, "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    words = ground_truth.arguments(job__workers_per_object=3, dry_run="true")

    done = subprocess.run(
        [sys.executable, "-m", "cxr.label", *words], env=environment, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert requests.problems("sagemaker", "CreateLabelingJob", told["request"]) == []
    assert told["request"]["LabelingJobName"] == "frontal"
    assert told["estimate"] == {
        "objects": 3, "workers_per_object": 3, "answers": 9, "usd_per_object": 0.08, "usd": 0.24,
    }  # fmt: skip
    assert not (tmp_path / "jobs" / "frontal" / "groundtruth.json").exists()
