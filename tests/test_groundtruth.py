"""Labeling jobs of Ground Truth from start to output manifest, on the AWS double."""

import csv
import json
import re
import shutil
from contextlib import suppress

import boto3
import ground_truth
import pytest
from botocore.exceptions import ClientError
from ground_truth import answers, run

from cxr.contract import manifest, signing
from cxr.errors import AwsError, JobError
from cxr.infra.aws import ExpiredError
from cxr.labeling import Job, Reader, withdrawal
from cxr.labeling.answers import Answers
from cxr.labeling.local import LocalLabeling
from cxr.labeling.lock import JobLock
from cxr.pacs.withdrawn import Images


@pytest.fixture(scope="module")
def cloud(aws, tmp_path_factory):
    return ground_truth.Cloud(aws, tmp_path_factory.mktemp("cloud"), "labels")


def at_the_portal(job, folder, workers):
    """The same answers by the local portal's backend; gives the output manifest."""
    there = Job(
        job.name, folder / "jobs" / job.name, job.labels, tuple(map(Reader, workers)),
        workers_per_object=len(workers), consolidation=job.consolidation,
    )  # fmt: skip
    there.folder.mkdir(parents=True)
    shutil.copy(job.input_manifest, there.input_manifest)
    kept = Answers(
        there.folder / "answers.db", workers_per_object=len(workers), task_time_limit_s=3600,
        readers=list(workers), audit_key=b"k" * 32,
    )  # fmt: skip
    kept.add(manifest.read(there.input_manifest), there.name)
    for number, worker in enumerate(workers):
        while task := kept.assign(worker):
            form = answers({"itemId": manifest.source(task.data_object)}, number)
            kept.submit(task.id, json.dumps(form), skipped=False)
    kept.close()
    backend = LocalLabeling(pacs=None, keys=signing.keys_from_text(ground_truth.KEY), port=0)
    backend._open(there, there.input_manifest)
    try:
        return backend.collect(there)
    finally:
        backend.close()


def plain(path, name):
    """The manifest's lines without the times that differ."""
    lines = path.read_text().splitlines()
    for line in lines:
        at = json.loads(line)[f"{name}-metadata"]["creation-date"]
        yield line.replace(at, "<time>")


def consolidated(lines, name):
    """Source → label attribute, workers in a stable order and what they submitted parsed."""
    for line in lines:
        value = line[name]
        said = sorted(value["annotationsFromAllWorkers"], key=lambda one: one["workerId"])
        for one in said:
            content = one["annotationData"]["content"]
            one["annotationData"]["content"] = json.loads(content)
        value["rois"].sort(key=lambda roi: roi["workerId"])
        for matched in ("consensus", "unmatched"):  # at the end, for every backend alike
            value.pop(matched, None)
        yield manifest.source(line), value | {"annotationsFromAllWorkers": said}


@pytest.mark.parametrize("rule", ["majority", "dawid_skene"])
def test_both_backends_write_the_same_manifest(cloud, aws, tmp_path, rule):
    name = f"same-{rule.replace('_', '-')}"
    aws.workers[name] = answers
    job = cloud.job(name, tmp_path, consolidation=rule)

    path = run(cloud.backend(), job)

    workers = [f"private.eu-central-1.{n:016x}" for n in range(2)]
    local = at_the_portal(job, tmp_path / "portal", workers)
    assert list(plain(path, name)) == list(plain(local, name))
    assert len(list(plain(path, name))) == 3
    for table in ("labels.csv", "answers.csv", "rois.csv", "agreement.json", "quality.json"):
        assert (job.folder / table).read_text() == (local.parents[2] / table).read_text()
    assert (job.folder / "failed.csv").read_text() == "index,source,reason\n"
    if rule == "majority":  # which the Lambda can apply; the other needs the whole job
        (left,) = cloud.files(f"cxr/jobs/{name}/output/{name}/manifests/output/output.manifest")
        stored = aws.client("s3").get_object(Bucket=cloud.bucket, Key=left)["Body"].read()
        by_lambda = dict(consolidated(map(json.loads, stored.splitlines()), name))
        assert by_lambda == dict(consolidated(manifest.read(local), name))


def test_a_batch_too_large_for_a_reply_loses_no_answer(cloud, aws, tmp_path):
    def long(task, worker):
        said = json.loads(answers(task, worker)["annotation"])
        return {"annotation": json.dumps(said | {"comment": "x" * 1_200_000})}

    aws.workers["long"] = long
    job = cloud.job("long", tmp_path)

    path = run(cloud.backend(), job)

    lines = [manifest.labelled(line, "long").document for line in manifest.read(path)]
    assert '"shortened":1' in aws.logs["labels-post_annotation"]
    assert [len(document["annotationsFromAllWorkers"]) for document in lines] == [2, 2, 2]
    assert {len(document["findings"]) for document in lines} == {4}
    assert (job.folder / "answers.csv").read_text().count("\n") == 1 + 3 * 2 * 4


def states(path, name):
    """Source → state of the finding they differ on; None where there is no label."""
    lines = manifest.read(path)
    found = ((manifest.source(line), manifest.labelled(line, name)) for line in lines)
    return {source: one and one.states["Lung Opacity"] for source, one in found}


def test_a_job_leaves_the_files_of_a_local_one_and_none_of_its_links(cloud, aws, tmp_path):
    aws.workers["files"] = answers
    job = cloud.job("files", tmp_path)
    backend = cloud.backend()

    backend.start(job, job.input_manifest)
    during = cloud.keys()
    task = aws.labeling.jobs["files"].answering
    backend.follow(job)
    offered = task.tasks[0].input
    run(backend, job)

    kid = cloud.document(f"s3://{cloud.bucket}/cxr/jobs/files/settings.json")["tokenKid"]
    assert kid.startswith(signing.job_kid("files") + "-")
    assert [key.partition(":")[0] for key in during] == ["k1", kid]
    assert cloud.keys() == [ground_truth.KEY]
    token = offered["imageUrl"].partition("?token=")[2]
    claims = signing.verify(signing.keys_from_text(" ".join(during)), token)
    assert claims["scope"] == [f"i:{offered['source']}"]
    assert claims["exp"] - claims["iat"] == 864_000 + 3600 + 3600
    assert offered["imageUrl"].startswith(f"{ground_truth.PACS_URL}/instances/")
    assert offered["page"]["comments"] is False
    responses = sorted((job.folder / "annotations" / "worker-response").rglob("*.json"))
    assert [one.parts[-3:-1] for one in responses] == [("iteration-1", str(n)) for n in range(3)]
    assert len(json.loads(responses[0].read_text())["answers"]) == 2
    assert (job.folder / "groundtruth.json").stat().st_mode & 0o777 == 0o600
    stored = cloud.files("cxr/jobs/files/")
    assert {one.partition("files/")[2].partition("/")[0] for one in stored} == {
        "input.manifest", "settings.json", "categories.json", "worker.liquid.html", "output",
        "claim.json",
        next(one.rpartition("/")[2] for one in stored if "viewer-" in one),
    }  # fmt: skip


def test_the_same_command_after_the_end_changes_nothing(cloud, aws, tmp_path):
    aws.workers["again"] = answers
    job = cloud.job("again", tmp_path)
    first = run(cloud.backend(), job).read_bytes()
    asked = len(aws.labeling.jobs)

    path = run(cloud.backend(), job)

    assert states(path, "again") == dict.fromkeys(states(path, "again"), "uncertain")
    assert len(first) == len(path.read_bytes())
    assert len(aws.labeling.jobs) == asked


def test_what_died_before_it_wrote_the_arn_is_found_again(cloud, aws, tmp_path):
    aws.workers["died"] = answers
    job = cloud.job("died", tmp_path)
    backend = cloud.backend()
    backend.start(job, job.input_manifest)
    backend.close()
    path = job.folder / "groundtruth.json"
    told = json.loads(path.read_text())
    told["jobs"][0] |= {"arn": "", "status": "Creating"}
    path.write_text(json.dumps(told))

    # another title would be another request, but this job is there already
    done = run(cloud.backend(title="Look"), job)

    assert len(states(done, "died")) == 3
    assert [name for name in aws.labeling.jobs if name.startswith("died")] == ["died"]


def test_a_lost_state_is_no_lost_job(cloud, aws, tmp_path):
    aws.workers["lost"] = answers
    job = cloud.job("lost", tmp_path)
    run(cloud.backend(), job)
    (job.folder / "groundtruth.json").unlink()

    assert len(states(run(cloud.backend(), job), "lost")) == 3


@pytest.mark.parametrize("name", ["taken", "TAKEN"])
def test_a_name_is_taken_once(cloud, aws, tmp_path, name):
    aws.workers["taken"] = answers
    if "taken" not in aws.labeling.jobs:
        run(cloud.backend(), cloud.job("taken", tmp_path / "first"))
    before = cloud.files("cxr/jobs/taken/")
    job = cloud.job(name, tmp_path, workers_per_object=1)

    with pytest.raises(JobError, match=f"^job.name: {name!r} is the name of another labeling job"):
        run(cloud.backend(), job)

    assert not (job.folder / "groundtruth.json").exists()
    assert cloud.files("cxr/jobs/taken/") == before
    assert cloud.keys() == [ground_truth.KEY]


def test_two_processes_do_not_start_one_job_twice(cloud, tmp_path):
    job = cloud.job("alone", tmp_path)
    held = JobLock(job.folder)

    with pytest.raises(JobError, match="is open in process"):
        run(cloud.backend(), job)
    held.release()


def test_the_local_portal_leaves_a_job_of_ground_truth_alone(cloud, aws, tmp_path):
    aws.workers["elsewhere"] = answers
    job = cloud.job("elsewhere", tmp_path)
    run(cloud.backend(), job)
    backend = LocalLabeling(pacs=None, keys=signing.keys_from_text(ground_truth.KEY), port=0)

    with pytest.raises(JobError, match="'elsewhere' was begun in Ground Truth; choose another"):
        backend.start(job, job.input_manifest)


def test_a_failed_job_says_why_and_its_links_end(cloud, aws, tmp_path, caplog):
    job = cloud.job("broken", tmp_path)
    backend = cloud.backend()

    with aws.faults.job_fails("ClientError: the role may not read the manifest", "broken"):
        path = run(backend, job)

    assert backend.verdict(job) == (
        "labeling job broken failed: ClientError: the role may not read the manifest; "
        "requeue=true offers again what has no label"
    )
    assert set(states(path, "broken").values()) == {None}
    assert cloud.keys() == [ground_truth.KEY]


def test_a_stopped_job_gives_what_there_is_and_the_rest_is_offered_again(cloud, aws, tmp_path):
    aws.workers["part*"] = answers
    job = cloud.job("part", tmp_path)
    backend = cloud.backend()
    with aws.faults.partial(1, "part"):
        first = states(run(backend, job), "part")
    assert backend.verdict(job).startswith("labeling job part was stopped")
    assert list(first.values()).count(None) == 2

    asked = backend.dry_run(job, requeue=True)
    second = states(run(backend, job, requeue=True), "part")

    assert asked["request"]["LabelingJobName"] == "part-2"
    assert asked["request"]["LabelAttributeName"] == "part"
    assert asked["estimate"]["objects"] == 2
    assert None not in second.values()
    assert backend.verdict(job) is None
    responses = (job.folder / "annotations" / "worker-response").rglob("*.json")
    assert {one.parts[-3:-1] for one in responses} == {
        ("iteration-1", "0"), ("iteration-2", "1"), ("iteration-2", "2"),
    }  # fmt: skip
    assert (job.folder / "failed.csv").read_text() == "index,source,reason\n"
    assert cloud.keys() == [ground_truth.KEY]


def test_what_failed_is_listed_with_its_reason(cloud, aws, tmp_path, caplog):
    aws.workers["some"] = answers
    job = cloud.job("some", tmp_path)
    sources = [manifest.source(line) for line in manifest.read(job.input_manifest)]

    with aws.faults.object_fails(0, "some"), aws.faults.nobody(2, "some"):
        path = run(cloud.backend(), job)

    with (job.folder / "failed.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["index"], row["source"]) for row in rows] == [
        ("0", sources[0]), ("2", sources[2]),
    ]  # fmt: skip
    assert "pre-annotation Lambda failed" in rows[0]["reason"]
    assert "no worker answered" in rows[1]["reason"]
    assert [source for source, one in states(path, "some").items() if one] == [sources[1]]
    assert "2 of 3 images have no label" in caplog.text


def test_nothing_failed_is_nothing_to_offer_again(cloud, aws, tmp_path):
    aws.workers["nothing-failed"] = answers
    job = cloud.job("nothing-failed", tmp_path)
    run(cloud.backend(), job)

    run(cloud.backend(), job, requeue=True)

    assert "nothing-failed-2" not in aws.labeling.jobs


def test_images_can_be_copied_and_labels_find_home(cloud, aws, tmp_path):
    aws.workers["copies"] = answers
    job = cloud.job("copies", tmp_path)
    sources = [manifest.source(line) for line in manifest.read(job.input_manifest)]

    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    own = cloud.account(kms_key=key)

    backend = cloud.backend(own, images="s3", token_secret_arn=None)
    backend.start(job, job.input_manifest)
    backend.follow(job)
    place = f"cxr/jobs/copies/images/{sources[0]}.dcm"
    copied = aws.client("s3").get_object(Bucket=cloud.bucket, Key=place)
    tags = aws.client("s3").get_object_tagging(Bucket=cloud.bucket, Key=place)["TagSet"]
    path = run(backend, job)

    assert list(states(path, "copies")) == sources
    assert None not in states(path, "copies").values()
    assert all("source-ref" not in line for line in manifest.read(path))
    given = aws.labeling.jobs["copies"].answering.tasks[0].input
    assert given["imageUrl"] == f"s3://{cloud.bucket}/{place}"
    assert tags == [{"Key": "cxr", "Value": "image"}]  # by which a lifecycle rule finds it
    assert copied["SSEKMSKeyId"] == key
    assert copied["Body"].read() == cloud.pacs.retrieve(cloud.pacs.find(sources[0]))
    assert cloud.files("cxr/jobs/copies/images/") == []  # every image has its label
    assert cloud.keys() == [ground_truth.KEY]


def test_a_chained_job_asks_what_is_missing(cloud, aws, tmp_path):
    aws.workers["chain"] = answers
    job = cloud.job("chain", tmp_path)
    lines = list(manifest.read(job.input_manifest))
    lines[0] |= {"chain": {"schema": manifest.SCHEMA, "findings": []}, "chain-metadata": {}}
    manifest.write(job.input_manifest, lines)

    path = run(cloud.backend(), job)

    assert aws.labeling.jobs["chain"].counters["TotalLabeled"] == 2
    written = list(manifest.read(path))
    assert written[0] == lines[0]
    assert [len(line["chain"]["findings"]) for line in written] == [0, 4, 4]


def test_throttling_is_waited_out(cloud, aws, tmp_path):
    aws.workers["busy"] = answers
    job = cloud.job("busy", tmp_path)
    backend = cloud.backend(cloud.account(tries=1))
    backend.start(job, job.input_manifest)

    with aws.faults.throttle("sagemaker:DescribeLabelingJob", times=5):
        backend.follow(job)

    assert len(states(run(backend, job), "busy")) == 3


@pytest.fixture
def profile(aws, tmp_path, monkeypatch):
    """A profile whose credentials a test may renew; gives the function that does."""
    path = tmp_path / "credentials"

    def renew(key):
        path.write_text(f"[hospital]\naws_access_key_id = {key}\naws_secret_access_key = double\n")

    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    renew("AKIAOLD0000000000000")
    return renew


def test_a_new_sign_in_is_found_while_following(cloud, aws, tmp_path, profile):
    aws.workers["renewed"] = answers
    job = cloud.job("renewed", tmp_path)
    backend = cloud.backend(cloud.account(profile="hospital"))
    backend.start(job, job.input_manifest)

    with aws.faults.expire():
        profile("AKIANEW0000000000000")
        with suppress(ClientError):  # the fault is of the first key that calls
            old = boto3.Session(aws_access_key_id="AKIAOLD0000000000000", aws_secret_access_key="x")
            old.client("sagemaker", endpoint_url=aws.endpoint).list_labeling_jobs()
        backend.follow(job)
        path = backend.collect(job)
    backend.close()

    assert None not in states(path, "renewed").values()


def test_expired_credentials_leave_the_job_at_work(cloud, aws, tmp_path, profile):
    job = cloud.job("expired", tmp_path)
    backend = cloud.backend(cloud.account(profile="hospital"))
    backend.start(job, job.input_manifest)

    with (
        aws.faults.expire(),
        pytest.raises(
            ExpiredError,
            match=r"^sagemaker:DescribeLabelingJob on expired: the credentials have expired .* "
            r"sign in again .*; job expired goes on in Ground Truth, and the same command follows",
        ),
    ):
        backend.follow(job)
    backend.close()

    aws.expire("expired")
    assert set(states(run(cloud.backend(), job), "expired").values()) == {None}


REFUSED = [
    ("sagemaker:CreateLabelingJob", "sagemaker:CreateLabelingJob on refused-0: not allowed; add"),
    ("s3:PutObject", "s3:PutObject on s3://cxr-labels/cxr/jobs/refused-1/claim.json: not "),
    ("secretsmanager:GetSecretValue", "secretsmanager:GetSecretValue on arn:aws:secrets"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_not_allowed_is_named_and_can_be_repeated(cloud, aws, tmp_path, number):
    action, told = REFUSED[number]
    name = f"refused-{number}"
    aws.workers[name] = answers
    job = cloud.job(name, tmp_path)

    with aws.faults.deny(action), pytest.raises(AwsError, match=f"^{re.escape(told)}"):
        run(cloud.backend(), job)
    assert name not in aws.labeling.jobs
    assert cloud.keys() == [ground_truth.KEY]

    assert None not in states(run(cloud.backend(), job), name).values()


def test_a_bucket_elsewhere_is_one_line(cloud, aws, tmp_path):
    far = cloud.account(bucket=aws.bucket("cxr-far", "us-west-2"))
    with pytest.raises(
        AwsError, match=r"^aws.bucket: .* aws.region eu-central-1, met cxr-far in us-west"
    ):
        run(cloud.backend(far), cloud.job("far", tmp_path))
    strange = cloud.backend(cloud.account(bucket="cxr-strange"))
    with (
        aws.faults.foreign("cxr-strange"),
        pytest.raises(AwsError, match=r"s3:\w+ on s3://cxr-strange: not allowed; add this"),
    ):
        run(strange, cloud.job("foreign", tmp_path))


def test_credentials_of_another_account_are_refused(cloud, tmp_path):
    given = dict.fromkeys(cloud.arns)
    other = {k: v.replace(ground_truth.NUMBER, "210987654321") for k, v in cloud.arns.items()}
    backend = cloud.backend(cloud.account(expected="210987654321"), **given | other)

    with pytest.raises(AwsError, match="expected credentials of 210987654321, met those of 1234"):
        run(backend, cloud.job("stranger", tmp_path))


def test_a_clock_that_is_off_is_named(cloud, aws, tmp_path):
    with aws.faults.clock(3600), pytest.raises(AwsError, match="check this machine's clock"):
        run(cloud.backend(), cloud.job("skewed", tmp_path))


def test_a_patient_who_withdraws_leaves_this_machine(cloud, aws, tmp_path):
    aws.workers["withdrawn"] = answers
    job = cloud.job("withdrawn", tmp_path)
    backend = cloud.backend()
    run(backend, job)
    backend.preview_files(job, signing.keys_from_text(ground_truth.KEY))
    lines = list(manifest.read(job.input_manifest))
    first = cloud.pacs.find(lines[0]["source"])  # the only one of its study
    gone = Images("mark", (first,))

    withdrawal.remove(job.folder, gone, b"k" * 32)

    found = [one for one in job.folder.rglob("*") if one.is_file()]
    assert not [one for one in found if first.orthanc_id in one.read_text()]
    assert len(list((job.folder / "annotations" / "worker-response").rglob("*.json"))) == 2

    # what is fetched after that brings nothing back
    path = job.folder / "groundtruth.json"
    path.write_text(path.read_text().replace('"fetched": true', '"fetched": false'))
    shutil.rmtree(job.folder / "annotations")
    path = run(cloud.backend(), job)
    found = [one for one in job.folder.rglob("*") if one.is_file()]
    assert not [one for one in found if first.orthanc_id in one.read_text()]
    assert len(states(path, "withdrawn")) == 2


def test_the_task_input_renders_as_ground_truth_renders_it(cloud, aws, tmp_path):
    job = cloud.job("rendered", tmp_path)
    folder = cloud.backend().preview_files(job, signing.keys_from_text(ground_truth.KEY))
    asked = json.loads((folder / "render-ui-template.json").read_text())

    answer = aws.client("sagemaker").render_ui_template(**asked)

    assert answer["Errors"] == []
    given = json.loads((folder / "task-input.json").read_text())
    assert json.loads(asked["Task"]["Input"]) == given
    assert given["page"]["comments"] is False
    assert given["source"] in answer["RenderedContent"]
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}
    assert "rendered" not in aws.labeling.jobs
