"""What CloudFormation stacks say of themselves, and a config filled from it.

Whatever is null in the config and named in an output is filled; what is given there wins. Outputs
keep the names of the templates in `templates/cloudformation`, which say what each is for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cxr.aws_schema import Aws, GroundTruthLabeling, SageMakerCompute, disagreement
from cxr.errors import AwsError, ConfigError
from cxr.infra.aws import Account
from cxr.schema import Site
from cxr.sections import Section

LABELING = {
    "role_arn": "SMGTLabelingExecutionRole",
    "workteam_arn": "WorkteamArn",
    "pre_lambda_arn": "PreLabelLambdaArn",
    "post_lambda_arn": "PostLabelLambdaArn",
    "token_secret_arn": "TokenKeySecretArn",
    "pacs_url": "ImageUrl",
}
"""Key of conf/labeling/groundtruth → the output that fills it."""
COMPUTE = {
    "role_arn": "TrainingRole",
    "subnets": "SubnetIds",
    "security_groups": "SecurityGroupId",
}
"""Key of conf/compute/sagemaker → the output that fills it."""
BUCKETS = ("SageMakerAnnotationS3Bucket", "TrainingBucket")
"""Outputs that name a bucket; the labeling stack's has what is trained on."""
WITHOUT_LINKS = (
    "labeling.images=s3, or scripts/stack.py up labeling … --from <pacs stack>, which hands it on"
)
"""What helps where nothing signs links."""
_OPTIONAL = {"pacs_url", "subnets", "security_groups"}
_LISTS = {"subnets", "security_groups"}
_MADE_FROM = {
    "SMGTLabelingExecutionRole": "labeling", "WorkteamArn": "labeling",
    "PreLabelLambdaArn": "labeling", "PostLabelLambdaArn": "labeling",
    "TokenKeySecretArn": "labeling", "TrainingRole": "training", "ImageUrl": "pacs",
}  # fmt: skip
_GONE = ("CREATE_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_", "DELETE_", "REVIEW_")
S = TypeVar("S", bound=Site)
T = TypeVar("T", bound=Section)


@dataclass(frozen=True)
class Stack:
    """A stack that stands, and what it says of itself."""

    name: str
    outputs: Mapping[str, str]

    @property
    def bucket(self) -> str | None:
        """The bucket that it made or was given."""
        return next((self.outputs[key] for key in BUCKETS if key in self.outputs), None)


def account(section: Aws) -> Account:
    """Give the account that conf/aws describes."""
    return Account(
        region=section.region,
        profile=section.profile,
        expected=section.account,
        bucket=section.bucket,
        prefix=section.prefix,
        kms_key=section.kms_key,
        tags=section.tags,
    )


def read(account: Account, name: str) -> Stack:
    """Give a stack that stands.

    Raises:
        ConfigError: There is none of this name, or it is not (or no longer) made.
        AwsError: CloudFormation may not be asked.
    """
    described = described_stack(account, name)
    if described is None:
        raise ConfigError(
            f"aws.stack: expected a CloudFormation stack in {account.region}, met no {name!r}; "
            "scripts/stack.py up makes one"
        )
    status = str(described["StackStatus"])
    if not stands(described):
        raise ConfigError(
            f"aws.stack: expected {name} to stand, met {status}; scripts/stack.py show {name} "
            "says more"
        )
    told = {o["OutputKey"]: str(o.get("OutputValue", "")) for o in described.get("Outputs", ())}
    return Stack(name, {key: value for key, value in told.items() if value})


def described_stack(account: Account, name: str) -> dict[str, Any] | None:
    """Give what DescribeStacks says of a stack, or None where there is none.

    Raises:
        AwsError: CloudFormation may not be asked.
    """
    try:
        answer = account.call("cloudformation", "describe_stacks", name, StackName=name)
    except AwsError as error:
        if "does not exist" in str(error):  # a ValidationError like any other, to boto3
            return None
        raise
    described: dict[str, Any] = answer["Stacks"][0]
    return described


def stands(described: Mapping[str, Any]) -> bool:
    """Say whether a stack, as DescribeStacks gives it, was ever made and is still there."""
    return not str(described["StackStatus"]).startswith(_GONE)


def filled(account: Account, stacks: Sequence[str]) -> dict[str, str]:
    """Give the outputs of several stacks as one; of two with the same name, the first one's.

    Raises:
        ConfigError: One of them does not stand.
        AwsError: CloudFormation may not be asked.
    """
    merged: dict[str, str] = {}
    for name in stacks:
        merged = {**read(account, name).outputs, **merged}
    return merged


def fill(cfg: S, known: Account | None = None) -> S:
    """Give a copy of a command's config in which the stacks' outputs stand for what was null.

    Args:
        cfg: A command's whole config; `aws.stack` says which stacks.
        known: The account, where it is at hand already.

    Raises:
        ConfigError: A stack does not stand, or a value is still missing.
        AwsError: CloudFormation may not be asked.
    """
    if cfg.aws is None:
        return cfg
    asked = known or account(cfg.aws)
    stacks = [read(asked, name) for name in cfg.aws.stacks]
    aws = _fill_account(cfg.aws, stacks)
    sections: dict[str, Section] = {"aws": aws}
    if isinstance(cfg.labeling, GroundTruthLabeling):
        free = _OPTIONAL | ({"token_secret_arn"} if cfg.labeling.images == "s3" else set())
        sections["labeling"] = _fill_section(cfg.labeling, "labeling", LABELING, stacks, free)
    if isinstance(cfg.compute, SageMakerCompute):
        _check_reach(cfg.compute, aws.bucket, stacks)
        sections["compute"] = _fill_section(cfg.compute, "compute", COMPUTE, stacks, _OPTIONAL)
    made = cfg.model_copy(update=sections)
    if told := disagreement(aws, made.labeling, made.compute):
        raise ConfigError(told)
    return made


def _fill_account(section: Aws, stacks: Sequence[Stack]) -> Aws:
    """Fill the bucket, then the key and prefix that go with just that bucket."""
    # manifests lie where labels were made, whichever stack was named first
    ordered = sorted(stacks, key=lambda stack: BUCKETS[0] not in stack.outputs)
    bucket = section.bucket or next((s.bucket for s in ordered if s.bucket), None)
    if bucket is None:
        where = _met(stacks)
        raise ConfigError(
            f"aws.bucket: expected the output {' or '.join(BUCKETS)} of a stack, met {where}; "
            "set it, CXR_BUCKET, or aws.stack"
        )
    its = next((stack for stack in ordered if stack.bucket == bucket), None)
    if its is None:
        return _with(section, {"bucket": bucket}, "aws", {})
    prefix = its.outputs.get("JobsPrefix", section.prefix)
    if prefix != section.prefix:
        raise ConfigError(
            f"aws.prefix: expected {prefix!r}, output JobsPrefix of {its.name}, whose roles reach "
            f"nothing else, met {section.prefix!r}; set aws.prefix={prefix}"
        )
    found = {"bucket": bucket, "kms_key": section.kms_key or its.outputs.get("KmsKeyArn")}
    return _with(section, found, "aws", {"kms_key": f"KmsKeyArn of {its.name}"})


def _check_reach(section: SageMakerCompute, bucket: str | None, stacks: Sequence[Stack]) -> None:
    """Refuse a training role that comes from a stack which trains in another bucket."""
    role = section.role_arn
    for stack in stacks:
        its, met = stack.outputs.get("TrainingRole"), stack.outputs.get(BUCKETS[1])
        if its is None or met is None or (role is not None and role != its):
            continue
        if met != bucket:
            raise ConfigError(
                f"aws.bucket: expected {met}, output {BUCKETS[1]} of {stack.name}, whose roles "
                f"reach no other, met {bucket}; make that stack again with scripts/stack.py up "
                "training … --from LABELING-STACK, or name it alone in aws.stack"
            )
        return  # the first one's role is taken


def _fill_section(
    section: T, name: str, keys: Mapping[str, str], stacks: Sequence[Stack], free: set[str]
) -> T:
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for key, output in keys.items():
        if getattr(section, key) is not None:
            continue
        stack = next((stack for stack in stacks if output in stack.outputs), None)
        if stack is not None:
            text = stack.outputs[output]
            found[key] = text.split(",") if key in _LISTS else text
            origin[key] = f"{output} of {stack.name}"
        elif key not in free:
            made_from = f"or add to aws.stack one made from {_MADE_FROM[output]}.yaml"
            raise ConfigError(
                f"{name}.{key}: expected the output {output} of a stack, met {_met(stacks)}; set "
                f"it, {WITHOUT_LINKS if key == 'token_secret_arn' else made_from}"
            )
    return _with(section, found, name, origin)


def _met(stacks: Sequence[Stack]) -> str:
    names = " and ".join(stack.name for stack in stacks)
    return f"none in {names}" if names else "no aws.stack"


def _with(section: T, found: Mapping[str, Any], name: str, origin: Mapping[str, str]) -> T:
    """Give a section with values set, held to its schema like what was typed."""
    from pydantic import ValidationError

    try:
        return type(section).model_validate({**section.model_dump(by_alias=True), **found})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        expected = first.get("ctx", {}).get("wanted", "what the schema takes")
        raise ConfigError(
            f"{name}.{key}: expected {expected}, met {first['input']!r}, output "
            f"{origin.get(key, 'of a stack')}"
        ) from error
