"""The shape of what a labeling job is made of: labels, team, portal, the job itself.

One class per group of `conf/`, as in `schema.py`, which has the commands.
"""

import difflib
import ipaddress
import json
import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from cxr import places
from cxr.sections import Name, Positive, Section, Share, like

Views = Literal["frontal", "lateral", "unknown"]


class Labels(Section):
    """conf/labels: which findings are asked about."""

    name: Name
    names: list[str] = Field(min_length=1)
    no_finding: str | None = None
    compatible: list[str] = Field([])
    parents: dict[str, list[str]] = Field({})
    aliases: dict[str, str] = Field({})
    not_mentioned: Literal["zeros", "ignore"] = "zeros"


_EMAIL = r"[^@\s,;<>]+@[^@\s,;<>]+"
_ORIGIN = r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"


class Tls(Section):
    """The portal's own certificate."""

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)


class Proxy(Section):
    """Who stands before the portal, and may say who asks."""

    addresses: list[str] = Field(min_length=1, max_length=100)
    user_header: (
        Annotated[str, like("[A-Za-z0-9-]{1,64}", "a header's name, as X-Remote-User")] | None
    ) = None

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
    sender: Annotated[str, Field(max_length=254), like(_EMAIL, "an address as a@b.example")]

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
    host: Annotated[
        str, Field(min_length=1, max_length=253), like("[A-Za-z0-9.:-]+", "a host name or address")
    ]
    port: int = Field(ge=0, le=65535)
    open_browser: bool
    url: Annotated[str, like(_ORIGIN, "https://host or https://host:port")] | None = None
    tls: Tls | None = None
    proxy: Proxy | None = None
    smtp: Smtp | None = None

    @model_validator(mode="after")
    def _others_come_by_tls(self) -> "LocalLabeling":
        public = urlsplit(self.url).hostname or "" if self.url else self.host
        secured = self.tls is not None or self.proxy is not None
        if not secured and not (places.is_loopback(self.host) and places.is_loopback(public)):
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


class ReportLabeling(Section):
    """conf/labeling/reports."""

    target: Literal["cxr.labeling.reports.ReportLabeling"] = Field(alias="_target_")
    phrases: str | None
    sections: list[str] = Field(max_length=20)


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
    query: dict[str, Any] = Field({})
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
    boxes: str | None = None
    compare: str | None = None

    @model_validator(mode="after")
    def _page_knows_them(self) -> "Job":
        offered = json.loads((places.shipped("templates") / "viewer" / "commands.json").read_text())
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
    email: Annotated[
        str, Field(max_length=254), like(f"({_EMAIL})?", "an address as a@b.example, or none")
    ] = ""
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
