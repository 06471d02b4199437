"""What the Lambdas know of one labeling job: its settings, kept in S3 beside it.

Two functions serve every job of an account, and an environment holds 4 KB; so whoever starts a
job writes `settings.json`, and the functions find it by the job's name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cxr.contract import labels
from cxr.contract.labels import LabelSet
from cxr.errors import ConfigError, LabelError

SCHEMA = "cxr-job/1"
FILE = "settings.json"


@dataclass(frozen=True)
class Settings:
    """One job, as the Lambdas see it.

    Attributes:
        attribute: The label attribute name.
        label_set: What is asked of every data object; None where each line says it.
        viewer_url: Of the viewer's script, s3:// or https://.
        template_sha: SHA-256 of the worker template, in hex.
        viewer_sha: SHA-256 of the viewer, in hex.
        token_ttl_s: How long an image URL opens its image, in seconds.
        pacs_url: Below which images are, https://; None leaves it to the function's environment.
        instructions: What workers are told, as text.
        examples: Pictures shown with it: `url` and `caption`.
        page: What the page offers, as `labeling.page.settings` gives it.
        token_kid: Of the job's own key, which alone may sign its image URLs; None: the newest does.
    """

    attribute: str
    label_set: LabelSet | None
    viewer_url: str
    template_sha: str = ""
    viewer_sha: str = ""
    token_ttl_s: int = 28_800
    pacs_url: str | None = None
    instructions: str = ""
    examples: Sequence[Mapping[str, str]] = ()
    page: Mapping[str, Any] = field(default_factory=dict)
    token_kid: str | None = None


def key(job_name: str) -> str:
    """Give where a job's settings are, below the folder of all jobs.

    >>> key("Chest-1")  # the ARN in a Lambda's event is lower-cased
    'chest-1/settings.json'
    """
    return f"{job_name.lower()}/{FILE}"


def name_of(arn: object) -> str:
    """Give a job's name by its ARN, which is lower-cased; empty where it is none.

    >>> name_of("arn:aws:sagemaker:eu-central-1:123456789012:labeling-job/chest-1")
    'chest-1'
    """
    return arn.rpartition("/")[2] if isinstance(arn, str) else ""


def to_document(settings: Settings) -> dict[str, Any]:
    """Give what `settings.json` holds; `parse` reads it back."""
    return {
        "schema": SCHEMA,
        "attribute": settings.attribute,
        "labelSet": label_set_document(settings.label_set) if settings.label_set else None,
        "viewerUrl": settings.viewer_url,
        "templateSha": settings.template_sha,
        "viewerSha": settings.viewer_sha,
        "tokenTtlS": settings.token_ttl_s,
        "tokenKid": settings.token_kid,
        "pacsUrl": settings.pacs_url,
        "instructions": settings.instructions,
        "examples": [dict(example) for example in settings.examples],
        "page": dict(settings.page),
    }


def parse(text: str | bytes) -> Settings:
    """Read `settings.json`.

    Raises:
        ConfigError: It is not that; `field` says where.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{FILE}: expected JSON") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ConfigError(f'{FILE}: expected "schema": "{SCHEMA}"').at("schema")
    asked = document.get("labelSet")
    try:
        label_set = None if asked is None else label_set_from(asked)
    except LabelError as error:
        raise ConfigError(f"{FILE}: labelSet: {error}").at("labelSet") from error
    ttl_s = _typed(document, "tokenTtlS", int)
    if isinstance(ttl_s, bool) or ttl_s <= 0:
        raise ConfigError(f"{FILE}: tokenTtlS: expected seconds, met {ttl_s!r}").at("tokenTtlS")
    return Settings(
        attribute=_typed(document, "attribute", str),
        label_set=label_set,
        viewer_url=_typed(document, "viewerUrl", str),
        template_sha=_typed(document, "templateSha", str, ""),
        viewer_sha=_typed(document, "viewerSha", str, ""),
        token_ttl_s=ttl_s,
        token_kid=_text_or_null(document, "tokenKid"),
        pacs_url=_text_or_null(document, "pacsUrl"),
        instructions=_typed(document, "instructions", str, ""),
        examples=_typed(document, "examples", list, []),
        page=_typed(document, "page", dict, {}),
    )


def label_set_document(label_set: LabelSet) -> dict[str, Any]:
    """Give a label set as settings hold it: nothing is left to a reader's guess."""
    silence = label_set.not_mentioned
    return {
        "label-set": label_set.name,
        "labels": list(label_set.names),
        "no-finding": label_set.no_finding,
        "compatible": list(label_set.compatible),
        "parents": {parent: list(children) for parent, children in label_set.parents.items()},
        "aliases": dict(label_set.aliases),
    } | ({} if silence == "zeros" else {"not-mentioned": silence})


def label_set_from(document: object) -> LabelSet:
    """Read a label set as settings hold it; what is left out is as in a manifest's line.

    Raises:
        LabelError: It is none.
    """
    if not isinstance(document, Mapping):
        raise LabelError(f"expected a label set, met {document!r}"[:200])
    renamed = {"no-finding", "compatible", "parents", "aliases", "not-mentioned"}
    return labels.from_data_object(
        {f"label-{name}" if name in renamed else name: value for name, value in document.items()}
    )


def _text_or_null(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{FILE}: {name}: expected text or null").at(name)
    return value


def _typed(document: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = document.get(name, default)
    if not isinstance(value, kind):
        raise ConfigError(f"{FILE}: {name}: expected {kind.__name__}, met {value!r}"[:200]).at(name)
    return value
