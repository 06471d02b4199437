"""The shape of what is said of AWS: the account, a Ground Truth job, a training job.

One class per option of `conf/`; `schema.py` has the commands. Whatever is null may be filled from
the outputs of the stacks that `aws.stack` names (`infra.aws.stacks`), and what is given here wins.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from cxr.labeling_schema import Job, Team
from cxr.pacs_schema import HttpUrl
from cxr.sections import Positive, Section

REGION = r"^[a-z]{2}(-[a-z]+)+-\d$"
_BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_INSTANCE = r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$"
_STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
_TAG = re.compile(r"[\w .:/=+@-]{1,128}")


def _arn(service: str) -> Any:
    """Give what an ARN of a service must look like."""
    return Field(pattern=rf"^arn:aws[a-z-]*:{service}:[a-z0-9-]*:\d{{12}}:.+$", max_length=2048)


RoleArn = Annotated[str, _arn("iam")]
KeyArn = Annotated[str, _arn("kms")]
SecretArn = Annotated[str, _arn("secretsmanager")]
FunctionArn = Annotated[str, _arn("lambda")]
TeamArn = Annotated[str, _arn("sagemaker")]


def _tags(given: dict[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if not _TAG.fullmatch(name) or not re.fullmatch(r"[\w .:/=+@-]{0,256}", value):
            raise ValueError(f"{name}: expected letters, digits and + - = . _ : / @ in tags")
        if name.casefold().startswith("aws:"):
            raise ValueError(f"{name}: names that begin with aws: are AWS's own")
    return given


Tags = Annotated[dict[str, str], Field(max_length=40), AfterValidator(_tags)]


class Aws(Section):
    """conf/aws: which account, and where in it."""

    region: str = Field(pattern=REGION)
    profile: str | None = Field(default=None, min_length=1)
    account: str | None = Field(default=None, pattern=r"^\d{12}$")
    stack: str | list[str] | None = None
    bucket: str | None = Field(default=None, pattern=_BUCKET)
    prefix: str = Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]$")
    kms_key: KeyArn | None = None
    tags: Tags

    @property
    def stacks(self) -> list[str]:
        """The stacks whose outputs fill what is null."""
        return [self.stack] if isinstance(self.stack, str) else list(self.stack or ())

    @model_validator(mode="after")
    def _stacks_have_names(self) -> "Aws":
        for name in self.stacks:
            if not _STACK.fullmatch(name):
                raise ValueError(
                    f"stack: expected the name of a CloudFormation stack, met {name!r}"
                )
        return self


class GroundTruthLabeling(Section):
    """conf/labeling/groundtruth."""

    target: Literal["cxr.labeling.groundtruth.GroundTruthLabeling"] = Field(alias="_target_")
    role_arn: RoleArn | None = None
    workteam_arn: TeamArn | None = None
    pre_lambda_arn: FunctionArn | None = None
    post_lambda_arn: FunctionArn | None = None
    token_secret_arn: SecretArn | None = None
    images: Literal["links", "s3"]
    pacs_url: HttpUrl | None = None
    title: str = Field(min_length=1, max_length=128)
    description: str = Field(min_length=1, max_length=255)
    keywords: list[Annotated[str, Field(max_length=30, pattern=r"^[A-Za-z0-9]+( [A-Za-z0-9]+)*$")]]
    availability_s: int = Field(ge=60, le=30 * 86_400)
    concurrency: int = Field(ge=1, le=5000)
    link_margin_s: int = Field(ge=0, le=7 * 86_400)
    allow_public: bool
    free_text: bool
    price_per_object_usd: float = Field(ge=0)
    poll_s: float = Field(gt=0, le=600)

    @model_validator(mode="after")
    def _keywords_are_few(self) -> "GroundTruthLabeling":
        if not 1 <= len(self.keywords) <= 5:
            raise ValueError(f"keywords: expected 1 to 5, met {len(self.keywords)}")
        return self


def refused(job: Job, team: Team) -> str | None:
    """Name the first thing asked of a Ground Truth job that only the local portal has."""
    rule = job.consolidation == "adjudicated"
    for key, asked, expected in (
        ("job.honeypots", job.honeypots is not None, "null"),
        ("job.repeats", job.repeats > 0, "0"),
        ("job.consolidation", rule, "majority, dawid_skene or any_present"),
        ("job.closes", job.closes == "lead", "done"),
        ("job.answers", job.answers is not None, "null"),
        ("team", any(reader.script for reader in team.readers), "no scripted readers"),
    ):
        if asked:
            return (
                f"{key}: expected {expected} with labeling=groundtruth, since that is for the "
                "local portal alone"
            )
    return None


class SageMakerCompute(Section):
    """conf/compute/sagemaker."""

    target: Literal["cxr.infra.sagemaker.SageMaker"] = Field(alias="_target_")
    dry_run: bool
    role_arn: RoleArn | None = None
    instance: str = Field(pattern=_INSTANCE)
    count: int = Field(ge=1, le=64)
    volume_gb: int = Field(ge=1, le=16_384)
    max_hours: float = Field(gt=0, le=28 * 24)
    spot: bool
    max_wait_hours: float = Field(gt=0, le=28 * 24)
    keep_alive_s: int = Field(ge=0, le=3600)
    at_once: Positive
    image: str | None = Field(default=None, min_length=1)
    images: dict[Literal["gpu", "cpu"], str]
    prices_usd: dict[str, Annotated[float, Field(gt=0)]]
    wheelhouse: str | None = None
    python: str = Field(pattern=r"^3\.\d{1,2}$")
    subnets: list[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]+$")]] | None = None
    security_groups: list[Annotated[str, Field(pattern=r"^sg-[0-9a-f]+$")]] | None = None
    environment: dict[str, str]
    poll_s: float = Field(gt=0, le=600)

    @model_validator(mode="after")
    def _waits_are_long_enough(self) -> "SageMakerCompute":
        if self.spot and self.max_wait_hours < self.max_hours:
            raise ValueError(
                f"max_wait_hours: expected at least max_hours ({self.max_hours:g}) with spot=true, "
                f"met {self.max_wait_hours:g}"
            )
        if self.spot and self.keep_alive_s:
            raise ValueError("keep_alive_s: expected 0 with spot=true, which keeps no warm pool")
        if (self.subnets is None) != (self.security_groups is None):
            raise ValueError("subnets: expected subnets and security_groups together, or neither")
        for kind in ("gpu", "cpu"):
            if kind not in self.images:
                raise ValueError(f"images: expected an image for {kind}, met none")
        return self
