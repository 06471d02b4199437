"""What a template asks for, and where the answers come from: words, files, other stacks, packages.

Whatever a template can refuse is refused here, before anything is asked of AWS or uploaded.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cxr import places
from cxr.errors import AwsError, ConfigError
from cxr.infra.aws import Account, packages, stacks

KINDS = ("pacs", "labeling", "training")
PASSED_ON = {
    "PreLabelLambdaSourceEndpointURL": "ImageUrl",
    "TokenKeySecretArn": "TokenKeySecretArn",
    "TokenKeyKmsKeyArn": "TokenKeyKmsKeyArn",
    "DataBucket": "SageMakerAnnotationS3Bucket",
    "DataKmsKeyArn": "KmsKeyArn",
    "JobsPrefix": "JobsPrefix",
}
"""Parameter → the output of another stack that fills it."""


class _Loader(yaml.SafeLoader):
    """Reads a template for its parameters; intrinsics are of no interest."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


@dataclass(frozen=True)
class Parameter:
    """One of a template's parameters."""

    name: str
    default: str | None
    pattern: str | None
    values: tuple[str, ...]
    listed: bool
    says: str

    def check(self, value: str) -> None:
        """Refuse what CloudFormation would refuse.

        Raises:
            ConfigError: The value does not fit.
        """
        for part in value.split(",") if self.listed else [value]:
            if self.values and part not in self.values:
                raise ConfigError(
                    f"{self.name}: expected one of {', '.join(self.values)}, met {part!r}"
                )
            if self.pattern and not re.fullmatch(self.pattern, part.strip()):
                raise ConfigError(f"{self.name}: expected {self.says}, met {part!r}")


def template(kind: str) -> str:
    """Give a template's text."""
    return (places.shipped("templates") / "cloudformation" / f"{kind}.yaml").read_text()


def of(text: str) -> dict[str, Parameter]:
    """Give a template's parameters by their names."""
    found = parsed(text).get("Parameters", {})
    return {
        name: Parameter(
            name,
            default=None if "Default" not in given else str(given["Default"]),
            pattern=given.get("AllowedPattern"),
            values=tuple(str(value) for value in given.get("AllowedValues", ())),
            listed=given["Type"].startswith(("CommaDelimited", "List<")),
            says=given.get("ConstraintDescription") or f"what {given.get('AllowedPattern')} takes",
        )
        for name, given in found.items()
    }


def given_by(words: Sequence[str], known: Mapping[str, Parameter]) -> dict[str, str]:
    """Read parameters from words key=value and names of YAML or JSON files; later words win.

    Raises:
        ConfigError: A word is neither, a name is unknown, or a value does not fit.
    """
    read: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        read |= {key: value} if equals else _from_file(Path(word))
    for key, value in read.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"{key}: no such parameter; {hint}")
        known[key].check(value)
    return read


def gathered(
    account: Account, kind: str, words: Sequence[str], others: Sequence[str]
) -> dict[str, str]:
    """Give the parameters of a stack to make or change; what is typed wins.

    Args:
        account: Where.
        kind: One of KINDS.
        words: Typed: key=value, or names of files.
        others: Stacks whose outputs are passed on.

    Raises:
        ConfigError: Something typed does not fit, or a stack does not stand.
        AwsError: Something may not be asked or uploaded.
    """
    known = of(template(kind))
    typed = given_by(words, known)
    outputs = stacks.filled(account, others)
    passed = {key: outputs[name] for key, name in PASSED_ON.items() if name in outputs}
    if "LambdaKey" in known:
        passed |= packages.upload(account, typed.get("LambdaBucket"))
    if typed.get("VpcId") and "S3PrefixListId" in known:
        passed["S3PrefixListId"] = _prefix_list(account)
    return {key: value for key, value in passed.items() if key in known} | typed


def parsed(text: str) -> dict[str, Any]:
    """Read a template, in which intrinsics become null."""
    found: dict[str, Any] = yaml.load(text, _Loader)
    return found


def _prefix_list(account: Account) -> str:
    """Give the ID of the region's list of S3's addresses."""
    name = f"com.amazonaws.{account.region}.s3"
    found = account.call(
        "ec2", "describe_managed_prefix_lists", name,
        Filters=[{"Name": "prefix-list-name", "Values": [name]}],
    )["PrefixLists"]  # fmt: skip
    if not found:
        raise AwsError(f"expected the prefix list {name}, met none; set S3PrefixListId")
    return str(found[0]["PrefixListId"])


def _from_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ConfigError(f"expected key=value or a file of parameters, met {str(path)!r}")
    try:
        read = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: expected YAML or JSON: {error}") from error
    if not isinstance(read, dict):
        raise ConfigError(f"{path}: expected parameters as key: value, met {type(read).__name__}")
    return {
        str(key): ",".join(map(str, value)) if isinstance(value, list) else _text(value)
        for key, value in read.items()
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
