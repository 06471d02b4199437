"""The shape of what is said of AWS: the account, a Ground Truth job, a training job.

One class per option of `conf/`; `schema.py` has the commands. Whatever is null may be filled from
the outputs of the stacks that `aws.stack` names (`infra.aws.stacks`), and what is given here wins.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cxr.labeling_schema import Job, Team
from cxr.pacs_schema import HttpUrl
from cxr.sections import Positive, Section, like, wanted

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
_TAG = re.compile(r"[\w .:/=+@-]{1,128}")


def _arn(service: str, what: str) -> AfterValidator:
    """Give what an ARN of a service must look like."""
    region = "" if service == "iam" else "<region>"
    return like(
        rf"arn:aws[a-z-]*:{service}:[a-z0-9-]*:[0-9]{{12}}:.+",
        f"the ARN of {what}, arn:aws:{service}:{region}:<account>:…",
    )


_Arn = Annotated[str, Field(max_length=2048)]
RoleArn = Annotated[_Arn, _arn("iam", "a role")]
KeyArn = Annotated[_Arn, _arn("kms", "a key")]
SecretArn = Annotated[_Arn, _arn("secretsmanager", "a secret")]
FunctionArn = Annotated[_Arn, _arn("lambda", "a function")]
TeamArn = Annotated[_Arn, _arn("sagemaker", "a work team")]


def _digits(given: object) -> object:
    """Take the number that twelve digits are, to YAML and to Hydra."""
    number = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    return f"{given:012d}" if number else given


def _version(given: object) -> object:
    """Take the number that 3.13 is; 3.1 may have been 3.10."""
    if not isinstance(given, float):
        return given
    if len(text := str(given)) < len("3.10"):
        raise wanted("""two pairs of quotes around what ends in 0, as '"3.10"'""")
    return text


_Account = Annotated[str, BeforeValidator(_digits), like("[0-9]{12}", "twelve digits")]
_Python = Annotated[str, BeforeValidator(_version), like(r"3\.[0-9]{1,2}", "a version as 3.13")]
_Bucket = Annotated[
    str,
    like(
        "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "the name of a bucket, 3 to 63 lower-case letters, digits, dots and hyphens",
    ),
]
_Prefix = Annotated[
    str,
    Field(max_length=200),
    like(
        "[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]",
        "letters, digits and . _ / - with a letter or digit at both ends",
    ),
]
_Keyword = Annotated[
    str,
    Field(max_length=30),
    like("[A-Za-z0-9]+( [A-Za-z0-9]+)*", "words of letters and digits, one space between"),
]


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

    region: Annotated[str, like(REGION.pattern, "an AWS region as eu-central-1")]
    profile: str | None = Field(default=None, min_length=1)
    account: _Account | None = None
    stack: str | list[str] | None = None
    bucket: _Bucket | None = None
    prefix: _Prefix
    kms_key: KeyArn | None = None
    tags: Tags

    @property
    def stacks(self) -> list[str]:
        """The stacks whose outputs fill what is null."""
        return [self.stack] if isinstance(self.stack, str) else list(self.stack or ())

    @model_validator(mode="after")
    def _stacks_have_names(self) -> "Aws":
        for name in self.stacks:
            if not STACK.fullmatch(name):
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
    keywords: list[_Keyword]
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

    @model_validator(mode="after")
    def _links_travel_encrypted(self) -> "GroundTruthLabeling":
        # a browser loads nothing by http into Ground Truth's page, loopback included
        if self.pacs_url and not self.pacs_url.startswith("https://"):
            raise ValueError(
                "pacs_url: expected https:// with labeling=groundtruth, whose page is https, met "
                f"{self.pacs_url!r}"
            )
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
    instance: Annotated[
        str, like(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", "an instance type as ml.g5.2xlarge")
    ]
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
    python: _Python
    subnets: list[Annotated[str, like("subnet-[0-9a-f]+", "subnet-…, in hex")]] | None = None
    security_groups: list[Annotated[str, like("sg-[0-9a-f]+", "sg-…, in hex")]] | None = None
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


def disagreement(aws: Aws, *sections: Section | None) -> str | None:
    """Name two settings that cannot both be meant: ARNs of two regions, or of two accounts.

    A key may be another account's, and so is a vendor's team; a role has no region.
    """
    given: list[tuple[str, str]] = [("aws.kms_key", aws.kms_key)] if aws.kms_key else []
    for name, section in zip(("labeling", "compute"), sections, strict=True):
        kinds = (GroundTruthLabeling, SageMakerCompute)
        keys = type(section).model_fields if isinstance(section, kinds) else ()
        found = ((key, getattr(section, key)) for key in keys if key.endswith("_arn"))
        given += [(f"{name}.{key}", arn) for key, arn in found if arn]
    of_region, of_account = ("aws.region", aws.region), ("aws.account", aws.account)
    for key, arn in given:
        _, _, service, region, account, _ = arn.split(":", 5)
        if region and region != of_region[1]:
            return f"{key}: expected region {of_region[1]} of {of_region[0]}, met {region}"
        if service == "kms" or (":workteam/" in arn and ":workteam/private-crowd/" not in arn):
            continue
        if of_account[1] is None:
            of_account = (key, account)
        elif account != of_account[1]:
            return f"{key}: expected account {of_account[1]} of {of_account[0]}, met {account}"
    return None
