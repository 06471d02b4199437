"""What `labeling=groundtruth` says, and what can be seen to be wrong with it from here."""

import re
from dataclasses import dataclass
from typing import Any

from cxr.errors import ConfigError
from cxr.infra.aws import Account, stacks

_ARNS = ("role_arn", "workteam_arn", "pre_lambda_arn", "post_lambda_arn")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The section of the config, with what the stacks filled in.

    Attributes:
        role_arn: That Ground Truth assumes.
        workteam_arn: Who labels.
        pre_lambda_arn: Makes tasks of data objects.
        post_lambda_arn: Makes labels of answers.
        token_secret_arn: Holds the keys that sign image links.
        images: `links` from the PACS's gateway, or `s3`: copies in the bucket.
        pacs_url: What links begin with; None is the Lambda's own setting.
        title: Of a task.
        description: Of a task.
        keywords: Of a task.
        availability_s: How long a task is offered, in seconds.
        concurrency: Tasks offered at once.
        link_margin_s: How much longer than its task a link lives, in seconds.
        allow_public: Whether images may leave for a vendor's team.
        free_text: Whether comments may be written, where the job has any.
        price_per_object_usd: For the estimate.
        poll_s: Between two looks at a job, in seconds.
    """

    role_arn: str | None = None
    workteam_arn: str | None = None
    pre_lambda_arn: str | None = None
    post_lambda_arn: str | None = None
    token_secret_arn: str | None = None
    images: str = "links"
    pacs_url: str | None = None
    title: str = "Label chest radiographs"
    description: str = "Answer every finding."
    keywords: tuple[str, ...] = ("chest", "radiograph")
    availability_s: int = 864_000
    concurrency: int = 1000
    link_margin_s: int = 3600
    allow_public: bool = False
    free_text: bool = False
    price_per_object_usd: float = 0.08
    poll_s: float = 20.0

    def token_ttl_s(self, task_time_limit_s: int) -> int:
        """Say how long a link must live to outlive its task, in seconds.

        Ground Truth may make a task when the job begins, and offer it until the end.
        """
        return self.availability_s + task_time_limit_s + self.link_margin_s


def made(section: dict[str, Any]) -> Settings:
    """Take the config's section as it is."""
    kept = {key: value for key, value in section.items() if key != "target"}
    return Settings(**kept | {"keywords": tuple(section["keywords"])})


def check(given: Settings, account: Account) -> None:
    """Refuse what cannot work, without asking AWS.

    Raises:
        ConfigError: Something is missing, elsewhere, or would show images to strangers.
    """
    wanted = [*_ARNS, *(["token_secret_arn"] if given.images == "links" else [])]
    for name in wanted:
        arn = getattr(given, name)
        if arn is None:
            stack = "aws.stack to a stack that has it as an output"
            instead = stacks.WITHOUT_LINKS if name == "token_secret_arn" else f"or {stack}"
            raise ConfigError(f"labeling.{name}: expected an ARN, met none; set it, {instead}")
        region = arn.split(":")[3]
        if region and region != account.region:
            raise ConfigError(
                f"labeling.{name}: expected something in aws.region {account.region}, met {region}"
            )
        number = arn.split(":")[4]
        if account.expected and number != account.expected and "-crowd/" not in arn:
            raise ConfigError(
                f"labeling.{name}: expected something of aws.account {account.expected}, "
                f"met {number}"
            )
    account.where()
    _check_team(given)


def _check_team(given: Settings) -> None:
    found = re.search(r":workteam/([a-z]+-crowd)/", given.workteam_arn or "")
    kind = found[1] if found else "none"
    if kind == "public-crowd":
        raise ConfigError(
            "labeling.workteam_arn: expected a private team, met the public workforce, which "
            "wants a price per task and data declared free of personal information; images of "
            "patients are never declared so"
        )
    if kind == "vendor-crowd" and not given.allow_public:
        raise ConfigError(
            "labeling.workteam_arn: expected a private team, met a vendor's; "
            "labeling.allow_public=true lets it see the images"
        )
    if kind not in ("private-crowd", "vendor-crowd"):
        raise ConfigError(
            "labeling.workteam_arn: expected …:workteam/private-crowd/<team>, met "
            f"{given.workteam_arn!r}"
        )
