"""Stacks: what moto cannot make is stood in for, and what CloudFormation checks is checked.

moto makes buckets, roles, functions, logs, keys, security groups and notebooks, and is helped with
what it forgets of a bucket. Everything else gets a sane Ref and sane attributes, and does nothing;
but a work team is there for labeling jobs, and a secret can be read.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import yaml
from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, Event
from moto.cloudformation.utils import yaml_tag_constructor
from moto.core.common_models import CloudFormationModel
from moto.core.exceptions import ServiceException
from moto.secretsmanager import secretsmanager_backends

from aws_double import changesets, resources
from aws_double.calls import ACCOUNT, REGION, RefusedError
from aws_double.workteams import Workteams

_MADE = {
    "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy",
    "AWS::Lambda::Permission", "AWS::Logs::LogGroup", "AWS::KMS::Key", "AWS::KMS::Alias",
    "AWS::EC2::SecurityGroup", "AWS::EC2::VPC", "AWS::EC2::Subnet",
    "AWS::SageMaker::NotebookInstance", "AWS::SageMaker::NotebookInstanceLifecycleConfig",
}  # fmt: skip
_REF_IS_ARN = {
    "AWS::SageMaker::Workteam", "AWS::SecretsManager::Secret", "AWS::ECS::Service",
    "AWS::SecretsManager::RotationSchedule", "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::ECS::TaskDefinition", "AWS::CertificateManager::Certificate", "AWS::SNS::Topic",
}  # fmt: skip
_CREATE = CloudFormationBackend.create_stack
_LONGEST = 51_200  # bytes of a template in the request


class StandIn(CloudFormationModel):
    """A resource that moto does not make.

    Attributes:
        kind: Its type.
        name: Its physical name.
        properties: As the template gives them, resolved.
    """

    kind = ""
    hooks: Mapping[str, Callable[["StandIn"], str]] = {}

    def __init__(self, name: str, properties: Mapping[str, Any]) -> None:
        self.name, self.properties = name, properties
        self.arn = self.hooks[self.kind](self) if self.kind in self.hooks else self._arn()

    def _arn(self) -> str:
        _, service, what = self.kind.split("::")
        return f"arn:aws:{service.lower()}:{REGION}:{ACCOUNT}:{what.lower()}/{self.name}"

    @property
    def physical_resource_id(self) -> str:
        """What Ref gives."""
        return self.arn if self.kind in _REF_IS_ARN else self.name

    def get_cfn_attribute(self, attribute: str) -> str:
        """Give what Fn::GetAtt gives."""
        if attribute.endswith(("Arn", "Id")) and attribute != "Id":
            return self.arn if attribute.endswith("Arn") else self.name
        if attribute.endswith("Port"):
            return "5432"
        return self.name if attribute.endswith("Name") else f"{self.name}.{attribute}".lower()

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Double::StandIn"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "StandIn":
        return cls(resource_name, cloudformation_json.get("Properties", {}))

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: Any, new_resource_name: str, cloudformation_json: Any,
        account_id: str, region_name: str,
    ) -> Any:  # fmt: skip
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str
    ) -> None:
        """Nothing is there."""

    def is_created(self) -> bool:
        return True


class Stacks:
    """What CloudFormation does here beyond moto, until `stop`."""

    def __init__(self, teams: Workteams) -> None:
        self.teams = teams
        parsing.get_model_list()  # moto keeps the first answer, and StandIns are no models of its
        self._kinds: dict[str, type[CloudFormationModel]] = {
            "AWS::S3::Bucket": resources.Bucket,
            "AWS::Lambda::Function": resources.Function,
        }
        self._hooks = {
            "AWS::SageMaker::Workteam": self._team,
            "AWS::SecretsManager::Secret": _secret,
        }
        self._failed: dict[str, list[tuple[str, str]]] = {}
        self._moto: list[tuple[Any, str, Any]] = []
        self._plain_class, self._plain_clean = parsing.resource_class_from_type, parsing.clean_json
        self._plain_made = parsing.parse_and_create_resource
        self._put(parsing, "resource_class_from_type", self._class)
        self._put(parsing, "clean_json", self._resolved)
        self._put(parsing, "parse_and_create_resource", self._made)
        if CloudFormationBackend.create_stack is _CREATE:  # no other double is running
            changesets.install()
        for name in ("create_stack", "execute_change_set"):
            self._put(CloudFormationBackend, name, self._settling(name))

    def stop(self) -> None:
        """Let moto be as it was."""
        for place, name, was in reversed(self._moto):
            setattr(place, name, was)

    def _put(self, place: Any, name: str, better: Any) -> None:
        self._moto.append((place, name, getattr(place, name)))
        setattr(place, name, better)

    def _resolved(self, document: Any, known: Any) -> Any:
        """Resolve as moto does, but leave AWS::NoValue out of lists too."""
        found = self._plain_clean(document, known)
        return [item for item in found if item is not None] if isinstance(found, list) else found

    def _made(self, logical: str, document: Any, known: Any, **where: Any) -> Any:
        """Make a resource; what fails is stood in for until the stack is rolled back."""
        try:
            return self._plain_made(logical, document, known, **where)
        except (ValueError, TypeError, AttributeError, KeyError, ServiceException) as error:
            told = (logical, f"{type(error).__name__}: {error}")
            self._failed.setdefault(known.stack_id, []).append(told)
            made = self._class("AWS::Double::Failed")(logical, {})  # type: ignore[call-arg]
            made.cf_resource_type, made.logical_resource_id = document["Type"], logical
            return made

    def _settling(self, name: str) -> Callable[..., Any]:
        """Tell what failed by the stack's status and events, as CloudFormation does."""
        plain = getattr(CloudFormationBackend, name)

        def settled(backend: Any, *given: Any, **named: Any) -> Any:
            answer = plain(backend, *given, **named)
            for stack_id in [one for one in self._failed if one in backend.stacks]:
                stack = backend.stacks[stack_id]
                for logical, reason in self._failed.pop(stack_id):
                    kind = stack.template_dict["Resources"][logical]["Type"]
                    event = Event(
                        stack_id, stack.name, logical, "", kind, "CREATE_FAILED", reason, None
                    )
                    stack.events.append(event)
                stack.status = "ROLLBACK_COMPLETE"
                stack._add_stack_event("ROLLBACK_COMPLETE")
            return answer

        return settled

    def _class(self, kind: str) -> type[CloudFormationModel]:
        if kind in _MADE:
            return self._plain_class(kind)
        if kind not in self._kinds:
            body = {"kind": kind, "hooks": self._hooks}
            self._kinds[kind] = type("Made", (StandIn,), body)
        return self._kinds[kind]

    def _team(self, made: StandIn) -> str:
        given = dict(made.properties)
        given.setdefault("WorkteamName", made.name)
        return self.teams.create(given)


def _secret(made: StandIn) -> str:
    """Make a secret that can be read; a generated one is 64 letters."""
    given = made.properties
    text = given.get("SecretString")
    if text is None:
        rule = given.get("GenerateSecretString", {})
        drawn = "0123456789abcdef" * (int(rule.get("PasswordLength", 32)) // 16 or 1)
        text = drawn
        if "SecretStringTemplate" in rule:
            whole = json.loads(rule["SecretStringTemplate"]) | {rule["GenerateStringKey"]: drawn}
            text = json.dumps(whole)
    stored = secretsmanager_backends[ACCOUNT][REGION].create_secret(
        name=given.get("Name", made.name), secret_string=text, secret_binary=None, description="",
        tags=[], kms_key_id=given.get("KmsKeyId"), client_request_token=None, replica_regions=[],
        force_overwrite=False,
    )  # fmt: skip
    return str(json.loads(stored)["ARN"])


def check(form: Mapping[str, list[str]]) -> None:
    """Refuse a CreateStack or UpdateStack as CloudFormation does and moto does not.

    Raises:
        RefusedError: Too long a template, missing capabilities, parameters out of bounds.
    """
    given = {key: values[0] for key, values in form.items()}
    text = given.get("TemplateBody")
    if text is None:
        return
    if len(text.encode()) > _LONGEST:
        raise _invalid(f"'templateBody' must have length less than or equal to {_LONGEST}")
    template = _parsed(text)
    capabilities = [value for key, value in given.items() if key.startswith("Capabilities.")]
    kinds = {resource["Type"] for resource in template.get("Resources", {}).values()}
    if any(kind.startswith("AWS::IAM::") for kind in kinds) and not capabilities:
        told = "Requires capabilities : [CAPABILITY_IAM]"
        raise RefusedError("InsufficientCapabilitiesException", told)
    _check_parameters(template.get("Parameters", {}), given)


def _parsed(text: str) -> dict[str, Any]:
    yaml.add_multi_constructor("", yaml_tag_constructor, Loader=_Loader)
    try:
        found: dict[str, Any] = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _invalid(f"Template format error: {error}") from error
    return found


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags."""


def _check_parameters(slots: Mapping[str, Any], given: Mapping[str, str]) -> None:
    numbers = [
        key.split(".")[2]
        for key in given
        if re.fullmatch(r"Parameters\.member\.\d+\.ParameterKey", key)
    ]
    for number in numbers:
        base = f"Parameters.member.{number}"
        name, value = given[f"{base}.ParameterKey"], given.get(f"{base}.ParameterValue")
        if name not in slots:
            raise _invalid(f"Parameters: [{name}] do not exist in the template")
        if value is not None:
            _check_value(name, slots[name], value)


def _check_value(name: str, slot: Mapping[str, Any], value: str) -> None:
    values = value.split(",") if slot["Type"] == "CommaDelimitedList" else [value]
    for one in values:
        pattern, allowed = slot.get("AllowedPattern"), slot.get("AllowedValues")
        if pattern and not re.fullmatch(pattern, one):
            told = slot.get("ConstraintDescription") or f"must match pattern {pattern}"
            raise _invalid(f"Parameter {name} failed to satisfy constraint: {told}")
        if allowed and one not in map(str, allowed):
            raise _invalid(f"Parameter '{name}' must be one of AllowedValues")
        least, most = slot.get("MinLength"), slot.get("MaxLength")
        size = float(len(one))
        if slot["Type"] == "Number":
            least, most = slot.get("MinValue"), slot.get("MaxValue")
            if not re.fullmatch(r"-?\d+(\.\d+)?", one):
                raise _invalid(f"Parameter '{name}' must be a number.")
            size = float(one)
        if (least is not None and size < float(least)) or (most is not None and size > float(most)):
            raise _invalid(f"Parameter '{name}' must be from {least} to {most}")


def read_form(body: bytes) -> dict[str, list[str]]:
    """Read the body of a query-protocol request."""
    return parse_qs(body.decode(), keep_blank_values=True)


def _invalid(message: str) -> RefusedError:
    return RefusedError("ValidationError", message)
