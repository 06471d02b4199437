"""Private teams of labellers, which moto does not have."""

from datetime import UTC, datetime
from typing import Any

from aws_double.calls import ACCOUNT, REGION, Call, RefusedError

_BASE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:workteam/private-crowd/"


class Workteams:
    """The account's private teams; one, radiology, is there from the beginning.

    Attributes:
        teams: Name → what DescribeWorkteam answers.
    """

    def __init__(self) -> None:
        self.teams: dict[str, dict[str, Any]] = {}
        self.operations = {
            "CreateWorkteam": lambda call: {"WorkteamArn": self.create(call.request)},
            "DescribeWorkteam": lambda call: {"Workteam": self._team(call)},
            "DeleteWorkteam": self._delete,
            "ListWorkteams": lambda call: {"Workteams": list(self.teams.values())},
        }
        member = {"CognitoMemberDefinition": {"UserPool": "p", "UserGroup": "g", "ClientId": "c"}}
        self.create({"WorkteamName": "radiology", "MemberDefinitions": [member]})

    @property
    def arns(self) -> set[str]:
        """Those of all teams."""
        return {team["WorkteamArn"] for team in self.teams.values()}

    def create(self, request: dict[str, Any]) -> str:
        """Make a team and give its ARN."""
        name = request["WorkteamName"]
        if name in self.teams:
            raise RefusedError("ResourceInUse", f"Workteam {name} already exists")
        now = datetime.now(UTC)
        self.teams[name] = {
            "WorkteamName": name,
            "WorkteamArn": _BASE + name,
            "Description": request.get("Description", ""),
            "MemberDefinitions": request.get("MemberDefinitions", []),
            "SubDomain": f"{name}.labeling.{REGION}.sagemaker.aws",
            "CreateDate": now,
            "LastUpdatedDate": now,
        }
        return _BASE + name

    def _team(self, call: Call) -> dict[str, Any]:
        try:
            return self.teams[call.request["WorkteamName"]]
        except KeyError as error:
            told = f"Workteam {call.request['WorkteamName']} does not exist"
            raise RefusedError("ValidationException", told) from error

    def _delete(self, call: Call) -> dict[str, Any]:
        self._team(call)
        del self.teams[call.request["WorkteamName"]]
        return {"Success": True}
