"""What others do to a labeling job of Ground Truth, and what nobody learns from it."""

import json
from dataclasses import replace

import cloudformation as cf
import ground_truth
import pytest
from ground_truth import answers, run
from test_groundtruth import at_the_portal, plain, states

from cxr.contract import manifest
from cxr.errors import AwsError, JobError
from cxr.infra.aws import objects
from cxr.labeling import withdrawal
from cxr.labeling.groundtruth import beginning, collecting, sending, state
from cxr.pacs.withdrawn import Images

UIDS = ("studyUid", "seriesUid", "sopUid")


@pytest.fixture(scope="module")
def cloud(aws, tmp_path_factory):
    return ground_truth.Cloud(aws, tmp_path_factory.mktemp("cloud"), "faults")


def by_the_page(uids):
    """Answers as the page writes them; `uids` gives an image's by its source."""

    def answer(task, worker):
        form = answers(task, worker)
        said = json.loads(form["annotation"])
        said["image"] = dict(zip(UIDS, uids(task), strict=True)) | {"rows": 1e-7}
        said["comment"] = 'she wrote "studyUid":"" here'
        return {"annotation": json.dumps(said, separators=(",", ":"))}

    return answer


def test_nothing_in_the_bucket_tells_of_whom_an_image_is(cloud, aws, tmp_path, monkeypatch):
    aws.workers["nameless"] = by_the_page(lambda task: [""] * 3)
    job = cloud.job("nameless", tmp_path)
    lines = {manifest.source(line): line for line in manifest.read(job.input_manifest)}

    path = run(cloud.backend(), job)

    client = aws.client("s3")
    stored = [key for key in cloud.files("cxr/jobs/nameless/") if "viewer-" not in key]
    assert len(stored) > 8
    for key in stored:
        held = client.get_object(Bucket=cloud.bucket, Key=key)["Body"].read().decode()
        for line in lines.values():
            assert not [line[name] for name in sending.UIDS if line[name] in held], key
    settings = cloud.document(f"s3://{cloud.bucket}/cxr/jobs/nameless/settings.json")
    assert settings["page"]["uids"] is False

    def known(task):
        line = lines[task["itemId"]]
        return [line[f"{name}-instance-uid"] for name in ("study", "series", "sop")]

    # at the portal, whose answers stay here, the page sends them
    monkeypatch.setattr("test_groundtruth.answers", by_the_page(known))
    workers = [f"private.eu-central-1.{n:016x}" for n in range(2)]
    local = at_the_portal(job, tmp_path / "portal", workers)
    assert list(plain(path, "nameless")) == list(plain(local, "nameless"))


def test_companions_are_as_nameless():
    line = {"source": "a", "sop-instance-uid": "1", "companions": [
        {"kind": "lateral", "source": "b", "sop-instance-uid": "2"}
    ]}  # fmt: skip

    (sent,) = sending.offered([line], ground_truth.account(), None, copied=False)

    assert sent == {"source": "a", "companions": [{"kind": "lateral", "source": "b"}]}


def test_answers_find_home_though_the_manifest_left_behind_is_not_whole(cloud, tmp_path):
    job, account = cloud.job("half", tmp_path), cloud.account()
    one = state.Round("half", "x", account.where("jobs", "half"), 3, status=state.STOPPED)
    lines = [json.dumps(line).encode() for line in manifest.read(job.input_manifest)]
    objects.write(account, f"{one.base}/input.manifest", b"\n".join(lines))
    left = f"{one.output}/manifests/intermediate/1/output.manifest"
    objects.write(account, left, b"\n".join(lines[1:]))
    for number in (1, 2):
        where = f"{one.output}/annotations/worker-response/iteration-1/{number}/t.json"
        objects.write_json(account, where, {"about": number})

    collecting.fetch(account, job, one, 1)

    found = sorted((job.folder / "annotations").rglob("*.json"))
    assert [(p.parent.name, json.loads(p.read_text())["about"]) for p in found] == [
        ("1", 1), ("2", 2),
    ]  # fmt: skip


def test_who_comes_second_changes_nothing_of_the_first_ones(cloud, aws, tmp_path):
    """The second has looked for the name before the first one asked, so finds no labeling job."""
    aws.workers["race"] = answers
    first = cloud.job("race", tmp_path / "a")
    second = cloud.job("race", tmp_path / "b", workers_per_object=1)
    ours, theirs = cloud.backend(), cloud.backend(title="Look")
    with aws.faults.deny("sagemaker:CreateLabelingJob"), pytest.raises(AwsError, match="allowed"):
        ours.start(first, first.input_manifest)
    before = {key: etag(cloud, key) for key in cloud.files("cxr/jobs/race/")}

    with pytest.raises(JobError, match=r"^job.name: 'race' is the name of another labeling job"):
        theirs.start(second, second.input_manifest)
    theirs.close()

    assert {key: etag(cloud, key) for key in cloud.files("cxr/jobs/race/")} == before
    assert not (second.folder / "groundtruth.json").exists()
    assert None not in states(run(ours, first), "race").values()


def held(cloud):
    """The IDs of the keys in the secret."""
    return [key.partition(":")[0] for key in cloud.keys()]  # noqa: SIM118 no dict


def etag(cloud, key):
    return cloud.aws.client("s3").head_object(Bucket=cloud.bucket, Key=key)["ETag"]


def test_the_same_job_begun_twice_at_once_has_one_key(cloud, aws, tmp_path):
    jobs = [cloud.job("twice", tmp_path / name) for name in "ab"]
    kids = []
    for job in jobs:
        backend = cloud.backend()
        with aws.faults.deny("sagemaker:CreateLabelingJob"), pytest.raises(AwsError):
            backend.start(job, job.input_manifest)
        backend.close()
        kids.append(cloud.document(f"s3://{cloud.bucket}/cxr/jobs/twice/claim.json")["kid"])

    assert kids[0] == kids[1]


def test_a_job_refused_once_is_begun_again_under_another_key(cloud, aws, tmp_path):
    aws.workers["repaired"] = answers
    job, backend = cloud.job("repaired", tmp_path), cloud.backend()
    settings = f"s3://{cloud.bucket}/cxr/jobs/repaired/settings.json"
    with aws.faults.deny("sagemaker:CreateLabelingJob"), pytest.raises(AwsError):
        backend.start(job, job.input_manifest)
    first = cloud.document(settings)["tokenKid"]
    assert cloud.keys() == [ground_truth.KEY]

    backend.start(job, job.input_manifest)

    again = cloud.document(settings)["tokenKid"]
    assert again != first
    assert held(cloud) == ["k1", again]
    assert None not in states(run(backend, job), "repaired").values()
    assert cloud.keys() == [ground_truth.KEY]


@pytest.mark.parametrize("lost", ["status", "state"])
def test_a_job_found_again_has_its_key_again(cloud, aws, tmp_path, lost):
    job, backend = cloud.job(f"adopt-{lost}", tmp_path), cloud.backend()
    backend.start(job, job.input_manifest)
    (one,) = state.read(job.folder)
    ended = beginning.withdraw(cloud.account(), one)
    assert cloud.keys() == [ground_truth.KEY]
    if lost == "state":
        (job.folder / "groundtruth.json").unlink()
    else:
        state.write(job.folder, [replace(ended, arn="", status=state.CREATING)])

    backend.start(job, job.input_manifest)

    assert held(cloud) == ["k1", one.kid]
    aws.expire(job.name)
    run(backend, job)
    assert cloud.keys() == [ground_truth.KEY]


def held_now(cloud, text):
    """Put another text in the secret's place, as an operator does."""
    client, one = cloud.aws.client("secretsmanager"), {"SecretId": cloud.secret}
    before = client.get_secret_value(**one, VersionStage="AWSCURRENT")["VersionId"]
    made = client.put_secret_value(**one, SecretString=text, VersionStages=["MADE"])["VersionId"]
    client.update_secret_version_stage(
        **one, VersionStage="AWSCURRENT", MoveToVersionId=made, RemoveFromVersionId=before
    )
    assert cloud.keys() == text.split()


def test_a_damaged_secret_costs_no_answer(cloud, aws, tmp_path, caplog):
    aws.workers["damaged"] = answers
    job, backend = cloud.job("damaged", tmp_path), cloud.backend()
    backend.start(job, job.input_manifest)
    backend.follow(job)  # its tasks have their links
    good = " ".join(cloud.keys())
    held_now(cloud, "hunter2")

    path = run(backend, job)

    assert None not in states(path, "damaged").values()
    assert "the links of job damaged may still open its images: " in caplog.text
    assert "hunter2" not in caplog.text
    held_now(cloud, good)
    run(backend, job)
    assert cloud.keys() == [ground_truth.KEY]


def test_links_end_though_nothing_can_be_downloaded(cloud, aws, tmp_path):
    aws.workers["kept"] = answers
    job, backend = cloud.job("kept", tmp_path), cloud.backend()
    backend.start(job, job.input_manifest)
    backend.follow(job)

    with aws.faults.deny("s3:GetObject"), pytest.raises(AwsError, match=r"^s3:GetObject on"):
        backend.collect(job)

    assert cloud.keys() == [ground_truth.KEY]
    assert None not in states(run(backend, job), "kept").values()


def test_what_is_offered_again_takes_the_next_name_that_is_free(cloud, aws, tmp_path, caplog):
    caplog.set_level("INFO")
    aws.workers["tak*"] = answers
    run(cloud.backend(), cloud.job("tak-2", tmp_path))
    job, backend = cloud.job("tak", tmp_path), cloud.backend()
    with aws.faults.nobody(0, "tak"):
        run(backend, job)

    path = run(backend, job, requeue=True)

    assert None not in states(path, "tak").values()
    assert [one.name for one in state.read(job.folder)] == ["tak", "tak-3"]
    assert "tak-2 is another job's name" in caplog.text


def test_a_name_leaves_room_for_a_number(cloud, tmp_path):
    job = cloud.job("x" * 61, tmp_path)

    with pytest.raises(JobError, match=r"^job.name: expected at most 60 characters, .* met 61$"):
        cloud.backend().dry_run(job)


def test_copies_that_may_not_be_deleted_cost_no_answer(cloud, aws, tmp_path, caplog):
    aws.workers["undeleted"] = answers
    job = cloud.job("undeleted", tmp_path)
    backend = cloud.backend(images="s3", token_secret_arn=None)

    with aws.faults.deny("s3:DeleteObject"):
        path = run(backend, job)

    assert None not in states(path, "undeleted").values()
    assert "copies of images are still below s3://" in caplog.text


def test_copies_stay_while_an_image_has_no_label(cloud, aws, tmp_path):
    aws.workers["undone*"] = answers
    job = cloud.job("undone", tmp_path)
    backend = cloud.backend(images="s3", token_secret_arn=None)

    with aws.faults.nobody(0, "undone"):
        run(backend, job)
    kept = len(cloud.files("cxr/jobs/undone/images/"))
    run(backend, job, requeue=True)

    assert kept == 3
    assert cloud.files("cxr/jobs/undone/images/") == []


def test_a_withdrawal_says_what_is_in_s3_and_forgets_copies_here(cloud, aws, tmp_path):
    aws.workers["gone"] = answers
    job = cloud.job("gone", tmp_path)
    run(cloud.backend(images="s3", token_secret_arn=None), job)
    line, *_ = manifest.read(job.input_manifest)
    instance = cloud.pacs.find(line["source"])
    images = Images("mark", (instance,))

    (held,) = withdrawal.look(tmp_path, images)
    withdrawal.remove(job.folder, images, b"k" * 32)

    assert (held.job, held.lines) == ("gone", 1)
    assert held.remote == (f"s3://{cloud.bucket}/cxr/jobs/gone/",)
    assert withdrawal.look(tmp_path, images) == []
    for path in job.folder.rglob("*.manifest"):
        assert line["source"] not in path.read_text()


@pytest.mark.parametrize("role", ["PreLabelRole", "PostLabelRole"])
def test_the_lambdas_may_see_that_settings_are_not_there_and_list_nothing_else(role):
    (policy,) = cf.load("labeling.yaml")["Resources"][role]["Properties"]["Policies"]
    listing = [
        one for one in policy["PolicyDocument"]["Statement"] if one.get("Action") == "s3:ListBucket"
    ]

    (condition,) = (one["Condition"] for one in listing)
    assert condition == {"StringLike": {"s3:prefix": {"Fn::Sub": "${JobsPrefix}/jobs/*"}}}


def test_what_marks_a_copied_image_is_what_the_bucket_expires():
    rules = cf.load("labeling.yaml")["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]
    (rule,) = (rule for rule in rules["Rules"] if "TagFilters" in rule)
    (tag,) = rule["TagFilters"]

    assert f"{tag['Key']}={tag['Value']}" == sending._TAG
    assert rule["ExpirationInDays"] == {"Ref": "ImageDays"}
