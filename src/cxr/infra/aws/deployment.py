"""Stacks made, changed and taken down: `scripts/stack.py`.

Everything goes by a change set, so that what will change is said before it does.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

from cxr import progress
from cxr.errors import AwsError, ConfigError
from cxr.infra.aws import Account, parameters, stacks

_log = logging.getLogger(__name__)


def deploy(
    account: Account, kind: str, name: str, given: Mapping[str, str], *, poll_s: float = 5
) -> stacks.Stack:
    """Make a stack, or change it; parameters not given stay as they were.

    Args:
        account: Where.
        kind: One of parameters.KINDS.
        name: Of the stack.
        given: Parameters.
        poll_s: How often to ask, in seconds.

    Raises:
        ConfigError: A parameter without a default is not given.
        AwsError: CloudFormation could not make it; what failed was said before.
    """
    text = parameters.template(kind)
    before = _standing(account, name)
    had = {p["ParameterKey"] for p in (before or {}).get("Parameters", ())}
    known = parameters.of(text)
    for key, parameter in known.items():
        if key not in given and key not in had and parameter.default is None:
            raise ConfigError(f"{key}: expected {parameter.says}, met none; add {key}=…")
    kept = [{"ParameterKey": k, "UsePreviousValue": True} for k in had & set(known) - set(given)]
    values = [{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()]
    made = account.call(
        "cloudformation", "create_change_set", name,
        StackName=name, TemplateBody=text, ChangeSetName=f"cxr-{time.time_ns()}",
        ChangeSetType="UPDATE" if before else "CREATE",
        Parameters=values + kept, Capabilities=["CAPABILITY_IAM"],
        Tags=[{"Key": key, "Value": value} for key, value in account.tags.items()],
    )  # fmt: skip
    if total := _changes(account, name, made["Id"]):
        seen = _events(account, made["StackId"], set())
        account.call("cloudformation", "execute_change_set", name, ChangeSetName=made["Id"])
        _follow(account, name, made["StackId"], seen, total, poll_s)
    return stacks.read(account, name)


def delete(account: Account, name: str, *, leave_data: bool, poll_s: float = 5) -> list[str]:
    """Take a stack down, and say what of it stays because its template says so.

    Args:
        account: Where.
        name: Of the stack.
        leave_data: Whether to go on where buckets hold data, which then stay as they are.
        poll_s: How often to ask, in seconds.

    Raises:
        AwsError: There is none, a bucket holds data, or it could not be taken down.
    """
    described = stacks.described_stack(account, name)
    if described is None:
        raise AwsError(f"{name}: expected a stack in {account.region}, met none")
    text = account.call("cloudformation", "get_template", name, StackName=name)["TemplateBody"]
    stays = {
        key for key, resource in parameters.parsed(text)["Resources"].items()
        if str(resource.get("DeletionPolicy", "")).startswith("Retain")
    }  # fmt: skip
    made = _made(account, name)
    full = [item for item in made if item[1] == "AWS::S3::Bucket" and _holds(account, item[2])]
    if full and not leave_data:
        bucket = full[0][2]
        raise AwsError(
            f"{name}: bucket {bucket} holds data; empty it (aws s3 rm s3://{bucket} --recursive, "
            "and its old versions), or add --leave-data, which takes the stack down and leaves "
            "the bucket"
        )
    seen = _events(account, described["StackId"], set())
    account.call("cloudformation", "delete_stack", name, StackName=name)
    _follow(account, name, described["StackId"], seen, len(made), poll_s)
    return [f"{kind} {physical}" for key, kind, physical, _ in made if key in stays and physical]


def drift(account: Account, name: str, *, poll_s: float = 2) -> list[str]:
    """Say which resources were changed by other hands, one line each.

    Raises:
        AwsError: It may not be asked, or cannot be told.
    """
    begun = account.call("cloudformation", "detect_stack_drift", name, StackName=name)
    request = {"StackDriftDetectionId": begun["StackDriftDetectionId"]}
    while True:
        met = account.call(
            "cloudformation", "describe_stack_drift_detection_status", name, **request
        )
        if met["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            break
        time.sleep(poll_s)
    if met["DetectionStatus"] == "DETECTION_FAILED":
        raise AwsError(f"{name}: {met.get('DetectionStatusReason', 'drift cannot be told')}")
    found = account.call(
        "cloudformation", "describe_stack_resource_drifts", name, StackName=name,
        StackResourceDriftStatusFilters=["MODIFIED", "DELETED"],
    )["StackResourceDrifts"]  # fmt: skip
    return [
        f"{item['LogicalResourceId']} ({item['ResourceType']}): {item['StackResourceDriftStatus']}"
        for item in found
    ]


def failures(account: Account, name: str) -> list[str]:
    """Give a stack's latest events that failed, one line each, the first of them first.

    Raises:
        AwsError: It may not be asked.
    """
    return [
        _told(event)
        for event in reversed(_latest(account, name))
        if "FAILED" in event["ResourceStatus"]
    ]


def _standing(account: Account, name: str) -> dict[str, Any] | None:
    """Give a stack that can be changed, or None where one is to be made."""
    met = stacks.described_stack(account, name)
    if met is None or met["StackStatus"] == "REVIEW_IN_PROGRESS":
        return None  # or a change set that was never carried out
    if met["StackStatus"] in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"):
        raise AwsError(
            f"{name}: {met['StackStatus']}, of which nothing can be changed any more; "
            f"scripts/stack.py down {name}, then again"
        )
    return met


def _changes(account: Account, name: str, change_set: str) -> int:
    """Wait for a change set, tell what it changes, and give how many."""
    while True:
        met = account.call("cloudformation", "describe_change_set", name, ChangeSetName=change_set)
        if met["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            break
        time.sleep(2)
    why = str(met.get("StatusReason", ""))
    if met["Status"] == "FAILED":
        account.call("cloudformation", "delete_change_set", name, ChangeSetName=change_set)
        if "didn't contain changes" in why or "No updates" in why:
            _log.info("%s is as asked already", name)
            return 0
        raise AwsError(f"{name}: {why}")
    found = [item["ResourceChange"] for item in met.get("Changes", ())]
    for change in found:
        anew = ", by a new one" if change.get("Replacement") == "True" else ""
        _log.info(
            "%s %s (%s)%s",
            change["Action"].lower(), change["LogicalResourceId"], change["ResourceType"], anew,
        )  # fmt: skip
    return max(len(found), 1)  # outputs alone are a change, and no resource's


def _follow(
    account: Account, name: str, stack_id: str, seen: set[str], total: int, poll_s: float
) -> None:
    """Wait until CloudFormation is done, telling what fails as it does."""
    with progress.bar("resources", total) as advance:
        while True:
            _events(account, stack_id, seen, tell=True)
            described = stacks.described_stack(account, stack_id)
            status = str(described["StackStatus"]) if described else "DELETE_COMPLETE"
            if not status.endswith("_IN_PROGRESS"):
                break
            done = [item for item in _made(account, stack_id) if item[3].endswith("_COMPLETE")]
            advance(min(len(done), total))
            time.sleep(poll_s)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
        raise AwsError(f"{name}: {status}; scripts/stack.py show {name} says what stands")


def _events(account: Account, stack_id: str, seen: set[str], *, tell: bool = False) -> set[str]:
    """Take note of a stack's events, and tell those that failed among the new ones."""
    for event in reversed(_latest(account, stack_id)):
        if event["EventId"] not in seen and tell and "FAILED" in event["ResourceStatus"]:
            _log.warning("%s", _told(event))
        seen.add(event["EventId"])
    return seen


def _latest(account: Account, name: str) -> list[dict[str, Any]]:
    answer = account.call("cloudformation", "describe_stack_events", name, StackName=name)
    events: list[dict[str, Any]] = answer["StackEvents"]
    return events


def _told(event: Mapping[str, Any]) -> str:
    why = " ".join(str(event.get("ResourceStatusReason", "no reason given")).split())
    what = f"{event['LogicalResourceId']} ({event['ResourceType']})"
    return f"{what}: {event['ResourceStatus']}: {why}"


def _made(account: Account, name: str) -> list[tuple[str, str, str, str]]:
    """Give logical ID, type, physical ID and status of what a stack has made."""
    with account.explaining("cloudformation:ListStackResources", name):
        pages = account.client("cloudformation").get_paginator("list_stack_resources")
        return [
            (
                item["LogicalResourceId"], item["ResourceType"],
                item.get("PhysicalResourceId", ""), item["ResourceStatus"],
            )
            for page in pages.paginate(StackName=name)
            for item in page["StackResourceSummaries"]
        ]  # fmt: skip


def _holds(account: Account, bucket: str) -> bool:
    """Say whether a bucket has an object, or an old version of one."""
    met = account.call("s3", "list_object_versions", f"s3://{bucket}", Bucket=bucket, MaxKeys=1)
    return bool(met.get("Versions") or met.get("DeleteMarkers"))
