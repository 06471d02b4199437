"""The request CreateLabelingJob, whole, and what it refers to in S3.

Nothing here calls AWS: a dry run shows exactly what would be sent. Data are never declared free of
personal information (`ContentClassifiers`), which the public workforce would ask for.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxr.contract import jobs, manifest
from cxr.errors import ConfigError, JobError
from cxr.infra.aws import Account, requests
from cxr.labeling import Job, page
from cxr.labeling.groundtruth.settings import Settings

MAX_OBJECTS = 100_000
"""Data objects in one custom labeling job."""
MAX_TEMPLATE = 128_000
"""Characters of a worker template."""
SHA_TAG = "cxr-request"
"""Tag that tells our job from another of the same name: `Plan.sha`."""


@dataclass(frozen=True)
class Plan:
    """All that one labeling job is made of.

    Attributes:
        request: Of CreateLabelingJob.
        settings: The job's settings.json, which its Lambdas read.
        categories: The label category file.
        base: s3:// URI below which everything of the job lies.
        lines: Of the manifest that Ground Truth gets.
        sha: Of all that, but where it lies.
    """

    request: dict[str, Any]
    settings: dict[str, Any]
    categories: dict[str, Any]
    base: str
    lines: Sequence[Mapping[str, Any]]
    sha: str

    @property
    def name(self) -> str:
        """The LabelingJobName."""
        return str(self.request["LabelingJobName"])


def plan(
    job: Job, given: Settings, account: Account, lines: Sequence[Mapping[str, Any]], name: str
) -> Plan:
    """Put a labeling job together and hold it against every published limit.

    Args:
        job: What is asked.
        given: Of whom, and how.
        account: Whose bucket it goes through.
        lines: Of the manifest that Ground Truth gets.
        name: The LabelingJobName; the label attribute name is the job's own.

    Raises:
        AwsError: The API would refuse the request.
        ConfigError: No bucket is known, or tasks would end before their time limit.
        JobError: There is nothing to label, or more than one labeling job takes.
        ManifestError: No job may have this name.
    """
    manifest.check_job_name(name)
    if not 1 <= len(lines) <= MAX_OBJECTS:
        raise JobError(
            f"{job.input_manifest}: expected 1 to {MAX_OBJECTS} images to label, met {len(lines)}"
        )
    if given.availability_s < job.task_time_limit_s:
        raise ConfigError(
            "labeling.availability_s: expected at least job.task_time_limit_s "
            f"({job.task_time_limit_s}), met {given.availability_s}"
        )
    template = page.template_text()
    if len(template) > MAX_TEMPLATE:
        raise JobError(
            f"{page.TEMPLATE}: expected at most {MAX_TEMPLATE} characters, met {len(template)}"
        )
    base = account.where("jobs", name.lower())
    settings = jobs.to_document(_settings(job, given, base))
    categories = {
        "document-version": "2018-11-28",
        "labels": [{"label": label} for label in job.labels.names],
    }
    request = _request(job, given, account, name, base)
    sha = _sha(request, settings, categories, lines)
    tags = dict(account.tags) | {"cxr-job": job.name, SHA_TAG: sha}
    request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    requests.check("sagemaker", "CreateLabelingJob", request)
    return Plan(request, settings, categories, base, lines, sha)


def estimate(job: Job, given: Settings, objects: int) -> dict[str, Any]:
    """Say what a job would cost and how much it asks of its workers.

    Args:
        job: What is asked.
        given: The price of one data object, in USD.
        objects: How many of them.
    """
    return {
        "objects": objects,
        "workers_per_object": job.workers_per_object,
        "answers": objects * job.workers_per_object,
        "usd_per_object": given.price_per_object_usd,
        "usd": round(objects * given.price_per_object_usd, 2),
    }


def _request(job: Job, given: Settings, account: Account, name: str, base: str) -> dict[str, Any]:
    key = {} if account.kms_key is None else {"KmsKeyId": account.kms_key}
    return {
        "LabelingJobName": name,
        "LabelAttributeName": job.name,
        "InputConfig": {
            "DataSource": {"S3DataSource": {"ManifestS3Uri": f"{base}/input.manifest"}}
        },
        "OutputConfig": {"S3OutputPath": f"{base}/output/", **key},
        "RoleArn": given.role_arn,
        "LabelCategoryConfigS3Uri": f"{base}/categories.json",
        "HumanTaskConfig": {
            "WorkteamArn": given.workteam_arn,
            "UiConfig": {"UiTemplateS3Uri": f"{base}/{page.TEMPLATE}"},
            "PreHumanTaskLambdaArn": given.pre_lambda_arn,
            "TaskKeywords": list(given.keywords),
            "TaskTitle": given.title,
            "TaskDescription": given.description,
            "NumberOfHumanWorkersPerDataObject": job.workers_per_object,
            "TaskTimeLimitInSeconds": job.task_time_limit_s,
            "TaskAvailabilityLifetimeInSeconds": given.availability_s,
            "MaxConcurrentTaskCount": given.concurrency,
            "AnnotationConsolidationConfig": {
                "AnnotationConsolidationLambdaArn": given.post_lambda_arn
            },
        },
    }


def _settings(job: Job, given: Settings, base: str) -> jobs.Settings:
    viewer = page.viewer()
    shown = page.settings(job.page, base)
    comments = job.page.comments and given.free_text
    return jobs.Settings(
        attribute=job.name,
        label_set=job.labels,
        viewer_url=f"{base}/{viewer.name}",
        template_sha=page.sha(page.template_text()),
        viewer_sha=page.sha(viewer.read_bytes()),
        token_ttl_s=given.token_ttl_s(job.task_time_limit_s),
        pacs_url=given.pacs_url,
        instructions=shown["instructions"],
        examples=shown["examples"],
        page=shown["page"] | {"comments": comments, "uids": False},
    )


def _sha(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
