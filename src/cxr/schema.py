"""The shape every command's config must have: types, ranges, and what goes with what.

The models mirror `conf/`: one class per group, one per command. Validation is strict: text is no
number and true is no integer. `config.py` turns what pydantic finds into one line.
"""

import difflib
import ipaddress
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxr import signatures
from cxr.errors import ConfigError

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Views = Literal["frontal", "lateral", "unknown"]


class Section(BaseModel):
    """One section of a config: no unknown keys, no silent conversions."""

    model_config = ConfigDict(
        extra="forbid", strict=True, protected_namespaces=(), validate_default=True
    )


class Target(BaseModel):
    """A section that is instantiated: its arguments are checked against the target's own."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())
    within: ClassVar[tuple[str, ...]] = ("cxr.", "monai.networks.nets.")
    target: str = Field(alias="_target_")

    @model_validator(mode="after")
    def _arguments_fit(self) -> "Target":
        try:
            wrong = signatures.problems(self.target, self.arguments(), self.within)
        except ConfigError as error:
            raise ValueError(f"_target_: {error}") from error
        if wrong:
            # config.py splits at the first colon to name the key
            raise ValueError("; ".join(f"{name}: {what}" for name, what in wrong.items()))
        return self

    def arguments(self) -> dict[str, Any]:
        """Give everything but `_target_`."""
        return self.model_dump(exclude={"target"}, exclude_none=True)


class Optimizer(Target):
    """A torch optimizer; its learning rate is ours to check."""

    within: ClassVar[tuple[str, ...]] = ("torch.optim.",)
    lr: float = Field(gt=0, lt=10)
    weight_decay: float | None = Field(default=None, ge=0, lt=10)


class Labels(Section):
    """conf/labels: which findings are asked about."""

    name: Name
    names: list[str] = Field(min_length=1)
    no_finding: str | None = None
    compatible: list[str] = []
    parents: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}


class FolderPacs(Section):
    """conf/pacs/folder."""

    target: Literal["cxr.pacs.folder.FolderPacs"] = Field(alias="_target_")
    folder: str


class Tls(Section):
    """The portal's own certificate."""

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)


class Proxy(Section):
    """Who stands before the portal, and may say who asks."""

    addresses: list[str] = Field(min_length=1, max_length=100)
    user_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$")

    @model_validator(mode="after")
    def _addresses_are_some(self) -> "Proxy":
        for text in self.addresses:
            try:
                network = ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(
                    f"addresses: expected IP addresses or networks as 10.1.0.0/24, met {text!r}"
                ) from error
            if network.prefixlen == 0:
                raise ValueError(f"addresses: {text} is everybody; name the proxy's own address")
        standing = ("host", "cookie", "origin", "x-csrf", "content-type", "content-length")
        if self.user_header and self.user_header.casefold() in standing:
            raise ValueError(f"user_header: {self.user_header!r} means something else already")
        return self


class Smtp(Section):
    """Where invitations are handed over to be mailed."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    security: Literal["starttls", "tls", "none"]
    user: str | None = None
    password: str | None = None
    sender: str = Field(max_length=254, pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")

    @model_validator(mode="after")
    def _password_stays_secret(self) -> "Smtp":
        if (self.user is None) != (self.password is None):
            raise ValueError("password: expected user and password together, or neither")
        if self.password is not None and self.security == "none":
            raise ValueError("security: expected starttls or tls where a password is sent")
        return self


class LocalLabeling(Section):
    """conf/labeling/local."""

    target: Literal["cxr.labeling.local.LocalLabeling"] = Field(alias="_target_")
    host: str = Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:-]+$")
    port: int = Field(ge=0, le=65535)
    open_browser: bool
    url: str | None = Field(
        default=None, pattern=r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
    )
    tls: Tls | None = None
    proxy: Proxy | None = None
    smtp: Smtp | None = None

    @model_validator(mode="after")
    def _others_come_by_tls(self) -> "LocalLabeling":
        public = urlsplit(self.url).hostname or "" if self.url else self.host
        secured = self.tls is not None or self.proxy is not None
        if not secured and not (is_loopback(self.host) and is_loopback(public)):
            raise ValueError(
                f"tls: others reach {self.url or self.host}, so expected a certificate and its "
                "key, or labeling.proxy with the addresses of a proxy that has them"
            )
        if secured and self.url and not self.url.startswith("https://"):
            raise ValueError(f"url: expected https://…, met {self.url!r}")
        if not secured and self.url and not self.url.startswith("http://"):
            raise ValueError(f"url: expected labeling.tls or labeling.proxy for {self.url!r}")
        if self.url is None and self.proxy:
            raise ValueError("url: expected the https address that readers open at the proxy")
        if self.url is None and self.host in ("0.0.0.0", "::"):
            raise ValueError(f"url: expected the address that readers open, as {self.host} is none")
        return self


class ReplayLabeling(Section):
    """conf/labeling/replay."""

    target: Literal["cxr.labeling.replay.ReplayLabeling"] = Field(alias="_target_")


class LocalCompute(Section):
    """conf/compute/local."""

    target: Literal["cxr.infra.compute.Local"] = Field(alias="_target_")


class Tracking(Section):
    """conf/tracking."""

    uri: str = Field(min_length=1)
    experiment: str = Field(min_length=1)


class Site(Section):
    """What conf/base.yaml and conf/site give every command."""

    root: str = Field(min_length=1)
    pacs: FolderPacs
    labeling: LocalLabeling | ReplayLabeling = Field(discriminator="target")
    tracking: Tracking
    compute: LocalCompute


class Synthetic(Section):
    """Radiographs drawn by us, whose findings are known."""

    images: int = Field(gt=0, le=100_000)
    seed: int = Field(default=0, ge=0)
    rows: int = Field(default=512, ge=64, le=4096)
    columns: int = Field(default=448, ge=64, le=4096)


class Example(Section):
    """A picture shown with the instructions."""

    image: str = Field(min_length=1)
    caption: str = Field(default="", max_length=500)


class Honeypots(Section):
    """Images with known answers, strewn among a reader's tasks."""

    manifest: str = Field(min_length=1)
    share: Annotated[float, Field(gt=0, le=0.5)]


class Job(Section):
    """conf/job: one labeling job."""

    name: str
    query: dict[str, Any] = {}
    views: list[Views] = Field(min_length=1)
    max_objects: Positive | None = None
    manifest: str | None = None
    workers_per_object: int = Field(ge=1, le=9)
    consolidation: Literal["majority", "dawid_skene", "any_present", "adjudicated"]
    task_time_limit_s: int = Field(ge=30, le=28_800)
    closes: Literal["done", "lead"]
    instructions: str = Field(max_length=20_000)
    examples: list[Example] = Field(max_length=50)
    tools: list[str] | None
    ask_roi: list[str]
    windows: dict[Name, list[float]] = Field(max_length=10)
    keys: dict[str, str]
    mouse: dict[Literal["left", "middle", "right"], str]
    comments: bool
    show: list[Literal["age", "sex", "indication"]]
    unit: Literal["image", "study"]
    companions: list[Literal["lateral", "frontal", "prior"]]
    honeypots: Honeypots | None
    repeats: Annotated[float, Field(ge=0, le=0.5)]
    synthetic: Synthetic | None = None
    answers: str | None = None
    key: Literal["sop_instance_uid", "study", "path"] = "sop_instance_uid"
    key_column: str | None = None
    column: str | None = None
    unlisted: Literal["absent", "not_mentioned"] = "absent"
    label_source: Literal["report-text-mined", "readers", "model"] = "report-text-mined"

    @model_validator(mode="after")
    def _page_knows_them(self) -> "Job":
        offered = json.loads((shipped("templates") / "viewer" / "commands.json").read_text())
        self._known("tools", self.tools or (), offered["tools"])
        self._known("keys", self.keys, offered["commands"])
        self._known("mouse", self.mouse.values(), offered["mouse"]["tools"])
        for name, key in self.keys.items():
            if not self._is_key(key, offered["keys"]):
                raise ValueError(f"keys.{name}: expected a key as shift+a or f9, met {key!r}")
        bound = {name: command["key"] for name, command in offered["commands"].items()} | self.keys
        taken: dict[str, str] = {}
        for name, key in bound.items():
            other = taken.setdefault(key.casefold(), name)
            if other != name:
                raise ValueError(f'keys: "{key}" would mean both {other} and {name}')
        return self

    @staticmethod
    def _is_key(key: str, offered: dict[str, list[str]]) -> bool:
        last = re.sub(r"^(\w+\+)+", "", key.casefold())
        modifiers = key.casefold().removesuffix(last).split("+")[:-1]
        single = len(last) == 1 and not last.isspace()
        return set(modifiers) <= set(offered["modifiers"]) and (single or last in offered["named"])

    @staticmethod
    def _known(key: str, met: Iterable[str], names: Collection[str]) -> None:
        for name in met:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f'{key}: the page has no "{name}"{hint}')

    @model_validator(mode="after")
    def _windows_are_windows(self) -> "Job":
        for name, window in self.windows.items():
            if len(window) != 2 or window[1] <= 0:
                raise ValueError(
                    f"windows.{name}: expected [centre, width], the width above 0, met {window}"
                )
        return self


class Skill(Section):
    """How well a scripted reader reads; only the demo and the tests have such readers."""

    sensitivity: Share
    specificity: Share
    uncertain: Share = 0.0
    seed: int = Field(ge=0)


class Reader(Section):
    """One of the team: a person, or a script that answers."""

    id: Name
    name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=254, pattern=r"^([^@\s,;<>]+@[^@\s,;<>]+)?$")
    roles: list[Literal["reader", "adjudicator", "lead"]] = Field(["reader"], min_length=1)
    script: Skill | None = None


class Team(Section):
    """conf/team: who labels, who decides, who leads."""

    readers: list[Reader] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _ids_differ(self) -> "Team":
        for what in ("id", "email"):
            given = [str(getattr(reader, what)).casefold() for reader in self.readers]
            given = [one for one in given if one]
            if len(set(given)) != len(given):
                raise ValueError(f"readers: two readers have the same {what}")
        if not self.having("reader"):
            raise ValueError("readers: expected somebody with the role reader, met nobody")
        return self

    def having(self, role: str) -> int:
        """Count those who have a role."""
        return sum(role in reader.roles for reader in self.readers)


class Label(Site):
    """python -m cxr.label."""

    new: Name | None
    reopen: bool
    invite: bool
    audit: Literal["verify"] | None
    labels: Labels
    team: Team
    job: Job

    @model_validator(mode="after")
    def _hands_suffice(self) -> "Label":
        readers = self.team.having("reader")
        local = isinstance(self.labeling, LocalLabeling)
        if local and self.job.workers_per_object > readers:
            raise ValueError(
                f"job.workers_per_object: expected at most the {readers} readers of the team, "
                f"met {self.job.workers_per_object}"
            )
        for key, wanted, role in (
            ("consolidation", "adjudicated", "adjudicator"),
            ("closes", "lead", "lead"),
        ):
            if local and getattr(self.job, key) == wanted and not self.team.having(role):
                raise ValueError(
                    f"job.{key}: {wanted} needs somebody in the team with the role {role}, "
                    "met nobody"
                )
        asked = set(self.labels.names) - {self.labels.no_finding}
        for name in self.job.ask_roi:
            if name not in asked:
                raise ValueError(f'job.ask_roi: expected findings of labels.names, met "{name}"')
        if self.reopen and not local:
            raise ValueError("reopen: expected labeling=local, whose answers can be corrected")
        if isinstance(self.labeling, ReplayLabeling) and not self.job.answers and not self.new:
            raise ValueError("job.answers: expected the CSV of existing labels, met none")
        return self


class Ingest(Site):
    """python -m cxr.ingest."""

    folder: str | None
    synthetic: Synthetic | None
    workers: int = Field(ge=0, le=256)

    @model_validator(mode="after")
    def _one_source(self) -> "Ingest":
        if (self.folder is None) == (self.synthetic is None):
            raise ValueError("folder: expected folder=PATH or synthetic.images=N, one of the two")
        return self


class Serve(Site):
    """python -m cxr.serve."""

    host: Literal["127.0.0.1", "localhost", "::1"]
    port: int = Field(ge=0, le=65535)
    token_ttl_s: int = Field(ge=60, le=30 * 86_400)
    allowed_origins: list[str]


class Data(Section):
    """conf/data: where examples come from and how they are split."""

    job: str = Field(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")
    attribute: str | None
    preset: Literal["voi", "mimic_jpg", "chexpert"]
    image_size: list[Annotated[int, Field(ge=32, le=4096)]] = Field(min_length=2, max_length=2)
    batch_size: int = Field(gt=0, le=4096)
    folds: int = Field(ge=2, le=100)
    fold: int = Field(ge=0)
    test: Literal["fold", "list", "none"]
    test_list: str | None
    workers: int = Field(ge=0, le=256)

    @model_validator(mode="after")
    def _folds_agree(self) -> "Data":
        if self.fold >= self.folds:
            raise ValueError(f"fold: expected 0 to {self.folds - 1}, met {self.fold}")
        if self.test == "fold" and self.folds < 3:
            raise ValueError("folds: expected at least 3 for train, val and test, met 2")
        if (self.test == "list") != (self.test_list is not None):
            raise ValueError("test_list: expected a file with test=list, and only then")
        return self


class Policy(Section):
    """conf/targets: what states become in training."""

    uncertain: Literal["ignore", "ones", "zeros"]
    not_mentioned: Literal["zeros", "ignore"]


class Augment(Section):
    """conf/augment: how far an image is moved and changed, at most."""

    rotation_deg: float = Field(ge=0, le=45)
    scale: float = Field(ge=0, lt=0.9)
    shift: float = Field(ge=0, lt=0.9)
    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1)


class Model(Section):
    """conf/model."""

    name: Name
    net: Target
    optimizer: Optimizer
    schedule: Literal["one_cycle", "constant"]


class Trainer(Section):
    """conf/trainer."""

    max_epochs: Positive
    accelerator: Literal["auto", "cpu", "gpu"]
    precision: Literal["auto", "32-true", "bf16-mixed"]
    gradient_clip: float | None = Field(ge=0)
    patience: Positive | None


class Train(Site):
    """python -m cxr.train."""

    name: Name
    seed: int = Field(ge=0, lt=2**32)
    objective: str = Field(pattern=r"^val/(loss|auroc_macro|auroc/.+)$")
    resume: bool
    onnx: bool
    examples: bool
    draws: int = Field(ge=100, le=100_000)
    labels: Labels | None = None
    data: Data
    targets: Policy
    augment: Augment
    model: Model
    trainer: Trainer


class Evaluate(Site):
    """python -m cxr.evaluate."""

    run: str
    examples: bool
    draws: int = Field(ge=100, le=100_000)
    seed: int = Field(ge=0)
    data: Data


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what is bound to a host.

    A name other than localhost may be anything, so it counts as reached by others.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("xray")
    (True, True, False, False)
    """
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def shipped(name: str) -> Path:
    """Find conf, lambdas or templates: beside src/ in a checkout, else inside the wheel.

    Raises:
        FileNotFoundError: Neither place has it, so the installation is broken.
    """
    here = Path(__file__).resolve().parent
    checkout = here.parents[1]
    # an editable install leaves a stale copy in site-packages, so the checkout comes first
    folder = (checkout if (checkout / "pyproject.toml").is_file() else here) / name
    if not folder.is_dir():
        raise FileNotFoundError(f"no {name}/ at {folder}: install cxr again")
    return folder
