"""What a role may do, by the policies that it has: jobs and Lambdas get no more here either.

Conditions of an Allow are taken as met, and those of a Deny as not: the double's calls come from
where the conditions want them to come from.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from moto.iam import iam_backends
from moto.secretsmanager import secretsmanager_backends

from aws_double.calls import ACCOUNT, REGION, Call, RefusedError

_PREFIX = {"secretsmanager": "secret:", "kms": "key/"}
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def allows(arn: str, action: str, resource: str) -> bool:
    """Say whether a role may do something to something."""
    effects = {
        statement["Effect"]
        for statement in _statements(arn)
        if _matches(statement.get("Action", ()), action, re.IGNORECASE)
        and _matches(statement.get("Resource", ()), resource)
        and not (statement["Effect"] == "Deny" and "Condition" in statement)
    }
    return effects == {"Allow"}


def need(arn: str, action: str, resource: str) -> None:
    """Refuse a job whose role may not do what the job needs.

    Raises:
        RefusedError: ValidationException, naming action and resource.
    """
    if not allows(arn, action, resource):
        told = f"The role {arn} is not authorized to perform: {action} on resource: {resource}"
        raise RefusedError("ValidationException", told)


def judge(arn: str, call: Call) -> None:
    """Refuse a call that is made with a role's credentials and that its policies do not allow.

    Raises:
        RefusedError: As AWS refuses.
    """
    if call.service == "sts":
        return
    resource = _resource(call)
    if allows(arn, call.action, resource):
        return
    told = f"{arn} is not authorized to perform: {call.action} on resource: {resource}"
    if call.service == "s3":
        raise RefusedError("AccessDenied", told, 403)
    raise RefusedError("AccessDeniedException", told)


def object_arn(uri: str) -> str:
    """Give the ARN of an s3:// URI's object."""
    return "arn:aws:s3:::" + uri.removeprefix("s3://")


def simulated(form: Mapping[str, list[str]]) -> bytes:
    """Answer SimulatePrincipalPolicy, which the SageMaker SDK asks about a role."""

    def listed(name: str) -> list[str]:
        return [v[0] for k, v in sorted(form.items()) if k.startswith(f"{name}.member.")]

    arn, results = form["PolicySourceArn"][0], ""
    for action in listed("ActionNames"):
        for resource in listed("ResourceArns") or ["*"]:
            decision = "allowed" if allows(arn, action, resource) else "implicitDeny"
            results += (
                f"<member><EvalActionName>{escape(action)}</EvalActionName>"
                f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
                f"<EvalDecision>{decision}</EvalDecision></member>"
            )
    return (
        "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult>"
        f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
        "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
    ).encode()


def _statements(arn: str) -> Iterator[dict[str, Any]]:
    name = arn.rpartition("/")[2]
    for role in iam_backends[ACCOUNT]["aws"].roles.values():
        if role.name != name:
            continue
        documents = [*role.policies.values()]
        documents += [policy.document for policy in role.managed_policies.values()]
        for document in documents:
            whole = json.loads(document) if isinstance(document, str) else document
            given = whole["Statement"]
            # moto leaves a null where AWS::NoValue takes a statement out
            yield from filter(None, given if isinstance(given, list) else [given])


def _matches(patterns: str | list[str], text: str, flags: int = 0) -> bool:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(wild, text, flags | re.DOTALL):
            return True
    return False


def _resource(call: Call) -> str:
    named = call.request.get("SecretId") or call.request.get("KeyId")
    if named is None or str(named).startswith("arn:"):
        return str(named or call.resource)
    if call.service == "secretsmanager":  # by its name or its ARN, it is the ARN that is allowed
        secret = secretsmanager_backends[ACCOUNT][REGION].secrets.get(named)
        if secret is not None:
            return str(secret.arn)
    return f"arn:aws:{call.service}:{REGION}:{ACCOUNT}:{_PREFIX.get(call.service, '')}{named}"
