"""Change sets that keep outputs and parameters, fail where told, take their time; and drift.

moto makes a stack by a change set without its outputs, forgets an update's parameters, and knows no
drift. What tests switch on:

    changesets.FAILING["Bucket"] = "already exists"    # this resource cannot be made
    changesets.BUSY.append("CREATE_IN_PROGRESS")       # what the next DescribeStacks says first
    changesets.DRIFTED["my-stack"] = ["Bucket"]        # changed by other hands
"""

import copy
import json
from typing import Any

from moto.cloudformation import models, utils
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket

FAILING: dict[str, str] = {}
BUSY: list[str] = []
DRIFTED: dict[str, list[str]] = {}
_PLAIN = {
    name: getattr(models.CloudFormationBackend, name)
    for name in ("create_change_set", "execute_change_set", "describe_stacks")
}
_ASKED = CloudFormationResponse.create_change_set


def install() -> None:
    """Let moto do better; installing twice is installing once."""
    backend = models.CloudFormationBackend
    backend.create_change_set = _create
    backend.execute_change_set = _execute
    backend.describe_stacks = _describe
    CloudFormationResponse.create_change_set = _asked
    models.yaml_tag_constructor = _tag
    FakeBucket.get_permission = _permitted
    for name, function in _DRIFT.items():
        setattr(CloudFormationResponse, name, function)


def _tag(loader: Any, tag: str, node: Any) -> Any:
    """Read a short tag; moto takes !Condition for a function."""
    made = utils.yaml_tag_constructor(loader, tag, node)
    return {"Condition": made["Fn::Condition"]} if tag == "!Condition" else made


def _asked(self: CloudFormationResponse) -> ActionResult:
    # an update without changes is refused at once, a change set without them fails later
    self._validate_different_update = lambda *given: None
    return _ASKED(self)


def _permitted(self: FakeBucket, action: str, resource: str) -> PermissionResult:
    """Judge by a bucket's policy, whose conditions moto does not read: loopback counts as TLS."""
    if self.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(self.policy)
    policy["Statement"] = [
        statement
        for statement in policy["Statement"]
        if statement.get("Condition") != {"Bool": {"aws:SecureTransport": "false"}}
    ]
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)


def _create(self: Any, stack_name: str, template: str, parameters: Any, **more: Any) -> Any:
    slots = models.Stack.parse_template(template).get("Parameters", {})
    whole = {name: slot["Default"] for name, slot in slots.items() if "Default" in slot}
    given = {name: _text(value) for name, value in {**whole, **parameters}.items()}
    missing = sorted(set(slots) - set(given))
    if missing:
        raise models.ValidationError(message=f"Parameters: {missing} must have values")
    return _PLAIN["create_change_set"](
        self, stack_name=stack_name, template=template, parameters=given, **more
    )


def _execute(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
    change_set = self.describe_change_set(change_set_name)
    stack, kind = self.stacks[change_set.stack_id], change_set.change_set_type
    failed = FAILING.keys() & change_set.template_dict["Resources"].keys()
    if failed:
        _fail(stack, kind, sorted(failed))
        return
    _PLAIN["execute_change_set"](self, change_set_name, stack_name)
    stack._parse_template()
    stack.parameters = change_set.parameters
    stack.output_map = stack._create_output_map()


def _fail(stack: Any, kind: str, failed: list[str]) -> None:
    for name in failed:
        event = models.Event(
            stack.stack_id, stack.name, name, "", "AWS::S3::Bucket", f"{kind}_FAILED",
            FAILING[name], None,
        )  # fmt: skip
        stack.events.append(event)
    stack.status = "ROLLBACK_COMPLETE" if kind == "CREATE" else "UPDATE_ROLLBACK_COMPLETE"
    stack._add_stack_event(stack.status)


def _describe(self: Any, name_or_stack_id: str) -> Any:
    found = _PLAIN["describe_stacks"](self, name_or_stack_id)
    if BUSY and found[0].status.endswith("_COMPLETE"):
        passing = copy.copy(found[0])
        passing.status = BUSY.pop(0)
        return [passing]
    return found


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _stack(response: CloudFormationResponse) -> Any:
    return response.cloudformation_backend.get_stack(response._get_param("StackName"))


def _detect(self: CloudFormationResponse) -> ActionResult:
    return ActionResult({"StackDriftDetectionId": _stack(self).name})


def _status(self: CloudFormationResponse) -> ActionResult:
    name = self._get_param("StackDriftDetectionId")
    return ActionResult(
        {
            "StackId": name,
            "StackDriftDetectionId": name,
            "StackDriftStatus": "DRIFTED" if DRIFTED.get(name) else "IN_SYNC",
            "DetectionStatus": "DETECTION_COMPLETE",
            "Timestamp": "2026-11-23T00:00:00Z",
        }
    )


def _drifts(self: CloudFormationResponse) -> ActionResult:
    stack = _stack(self)
    return ActionResult(
        {
            "StackResourceDrifts": [
                {
                    "StackId": stack.stack_id,
                    "LogicalResourceId": name,
                    "ResourceType": stack.template_dict["Resources"][name]["Type"],
                    "StackResourceDriftStatus": "MODIFIED",
                    "Timestamp": "2026-11-23T00:00:00Z",
                }
                for name in DRIFTED.get(stack.name, ())
            ]
        }
    )


_DRIFT = {
    "detect_stack_drift": _detect,
    "describe_stack_drift_detection_status": _status,
    "describe_stack_resource_drifts": _drifts,
}
