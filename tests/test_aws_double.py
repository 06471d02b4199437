"""The double's labeling jobs keep Ground Truth's rules, and leave what real ones leave."""

import json

import aws_requests
import pytest
from aws_requests import NARROW, TEMPLATE, output, refused, store

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def request_of(aws):
    return aws_requests.labeling(aws)


def test_labeling_job_calls_both_lambdas_and_writes_its_output(aws, request_of):
    aws.workers["Whole"] = lambda given, worker: {"annotation": f"{given['source']}-{worker}"}

    arn = aws.client("sagemaker").create_labeling_job(**request_of("Whole"))["LabelingJobArn"]

    assert arn.endswith(":labeling-job/whole")
    assert aws.ended("Whole") == "Completed"
    first, second = output(aws, "Whole")
    assert first["chest"] == {"answers": 2, "object": {"content": "one"}}
    assert first["note"] == 1
    assert second["chest-metadata"].keys() == {
        "type", "job-name", "human-annotated", "creation-date",
    }  # fmt: skip
    assert aws.logs["double-pre"].count("asked") == 2


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"LabelAttributeName": "under_score"}, "'under_score' at 'labelAttributeName' .* pattern"),
        ({"LabelAttributeName": "chest-metadata"}, "must not end with -metadata"),
        ({"NumberOfHumanWorkersPerDataObject": 10}, "'humanTaskConfig.numberOf.* or equal to 9"),
        ({"TaskKeywords": ["X-ray"]}, "'humanTaskConfig.taskKeywords.1.member' .* pattern"),
        ({"TaskTimeLimitInSeconds": 28_801}, "taskTimeLimitInSeconds: 28801 is more than 28800"),
        ({"RoleArn": "arn:aws:iam::123456789012:role/none"}, "ensure that the role exists"),
        ({"WorkteamArn": "arn:aws:sagemaker:eu-central-1:123456789012:workteam/x"}, "no such team"),
        ({"PreHumanTaskLambdaArn": "arn:aws:lambda:eu-central-1:123456789012:function:x"}, "exist"),
        ({"OutputConfig": {"S3OutputPath": "s3://double-none/"}}, "s3OutputPath: no such bucket"),
        ({"LabelCategoryConfigS3Uri": "s3://double-labels/none"}, "no such object"),
    ],
)
def test_bad_labeling_request_is_refused_by_the_name_of_its_field(aws, request_of, changes, match):
    assert refused(aws, request_of("Bad", **changes), match) == "ValidationException"


def test_labeling_job_names_differ_by_more_than_case(aws, request_of):
    aws.workers["Once"] = lambda given, worker: {"annotation": "x"}
    aws.client("sagemaker").create_labeling_job(**request_of("Once"))

    assert refused(aws, request_of("oNCE"), "must be unique") == "ResourceInUse"
    aws.ended("Once")


def test_output_bucket_of_another_region_is_refused(aws, request_of):
    aws.bucket("double-elsewhere", "us-west-2")
    request = request_of("Far", OutputConfig={"S3OutputPath": "s3://double-elsewhere/out"})

    assert refused(aws, request, "is in us-west-2") == "ValidationException"


def test_manifest_line_without_a_source_fails_the_job(aws, request_of):
    store(aws, "in/bad.manifest", '{"source": "one"}\n{"sauce": "two"}\n')
    where = {"ManifestS3Uri": "s3://double-labels/in/bad.manifest"}
    request = request_of("Lineless", InputConfig={"DataSource": {"S3DataSource": where}})

    aws.client("sagemaker").create_labeling_job(**request)

    assert aws.ended("Lineless") == "Failed"
    assert "line 2 of the manifest" in aws.labeling.jobs["Lineless"].reason


def test_labelled_object_is_not_asked_again(aws, request_of):
    asked = []
    aws.workers["Chained"] = lambda given, worker: asked.append(given["source"]) or {"a": "x"}
    store(aws, "in/chain.manifest", '{"source": "one", "chest": {"n": 1}}\n{"source": "two"}\n')
    where = {"ManifestS3Uri": "s3://double-labels/in/chain.manifest"}
    request = request_of("Chained", InputConfig={"DataSource": {"S3DataSource": where}})

    aws.client("sagemaker").create_labeling_job(**request)

    assert aws.ended("Chained") == "Completed"
    assert set(asked) == {"two"}
    assert output(aws, "Chained")[0]["chest"] == {"n": 1}


def test_label_categories_reach_the_post_annotation_lambda(aws, request_of):
    aws.workers["Named"] = lambda given, worker: {"annotation": "x"}
    document = {"document-version": "2018-11-28", "labels": [{"label": "Edema"}, {"label": "Mass"}]}
    store(aws, "in/categories.json", json.dumps(document))
    code = "def handler(event, context):\n    print(event['labelCategories'])\n    return []\n"
    arn = aws.function("double-names", {"names.py": code}, "names.handler")

    aws.client("sagemaker").create_labeling_job(
        **request_of(
            "Named",
            LabelCategoryConfigS3Uri="s3://double-labels/in/categories.json",
            AnnotationConsolidationConfig={"AnnotationConsolidationLambdaArn": arn},
        )
    )

    assert aws.ended("Named") == "Completed"
    assert "['Edema', 'Mass']" in aws.logs["double-names"]
    reasons = [line["chest-metadata"]["failure-reason"] for line in output(aws, "Named")]
    assert reasons == ["ClientError: the post-annotation Lambda left this object out"] * 2


def test_failed_and_unanswered_objects_keep_their_reason(aws, request_of):
    aws.workers["Lossy"] = lambda given, worker: {"annotation": "x"}

    with aws.faults.object_fails(0, "Lossy"), aws.faults.nobody(1, "Lossy"):
        aws.client("sagemaker").create_labeling_job(**request_of("Lossy"))
        status = aws.ended("Lossy")

    reasons = [line["chest-metadata"]["failure-reason"] for line in output(aws, "Lossy")]
    assert status == "Completed"
    assert "pre-annotation" in reasons[0]
    assert "no worker answered" in reasons[1]
    assert aws.labeling.jobs["Lossy"].counters["FailedNonRetryableError"] == 2


def test_partial_output_leaves_the_other_lines_as_they_were(aws, request_of):
    aws.workers["Partly"] = lambda given, worker: {"annotation": "x"}

    with aws.faults.partial(1, "Partly"):
        aws.client("sagemaker").create_labeling_job(**request_of("Partly"))
        status = aws.ended("Partly")

    assert status == "Stopped"
    assert ["chest" in line for line in output(aws, "Partly")] == [True, False]


def test_stopped_labeling_job_ends_and_keeps_what_it_has(aws, request_of):
    sagemaker = aws.client("sagemaker")
    sagemaker.create_labeling_job(**request_of("Halted"))
    aws.tasks("Halted")

    sagemaker.stop_labeling_job(LabelingJobName="Halted")

    assert aws.ended("Halted") == "Stopped"
    assert output(aws, "Halted") == [{"source": "one", "note": 1}, {"source": "two"}]
    again = {"LabelingJobName": "Halted"}
    assert refused(aws, again, "Stopped state", "stop_labeling_job") == "ValidationException"


@pytest.mark.browser
def test_browser_answers_in_a_sandboxed_frame(aws, request_of, browser):
    aws.client("sagemaker").create_labeling_job(
        **request_of("Seen", NumberOfHumanWorkersPerDataObject=1)
    )

    page = browser.new_page()
    answers = []
    for task in aws.tasks("Seen"):
        page.goto(task.url)
        frame = page.frame_locator("iframe")
        frame.locator("crowd-button").click()
        frame.locator("#done").wait_for()
        answers.append(task.answer)
    page.close()

    assert answers == [{"annotation": "one"}, {"annotation": "two"}]
    assert aws.ended("Seen") == "Completed"


def test_template_is_rendered_as_a_preview(aws, request_of):
    told = aws.client("sagemaker").render_ui_template(
        UiTemplate={"Content": TEMPLATE},
        Task={"Input": '{"source": "<one>"}'},
        RoleArn=aws.role("double-labeling"),
    )

    assert 'value="&lt;one&gt;"' in told["RenderedContent"]


def test_labeling_role_needs_what_the_job_does(aws, request_of):
    role = aws.role("double-reader", policy=NARROW)
    request = request_of("Poor", RoleArn=role)

    told = "s3:PutObject on resource: arn:aws:s3:::double-labels/out/Poor/"
    assert refused(aws, request, told) == "ValidationException"
