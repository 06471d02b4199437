"""The shape of what a PACS is told, and of what an ingest does with what it finds.

One class per option of `conf/pacs`; `schema.py` has the commands.
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cxr import ingest_rules, places
from cxr.ingest_rules import Severity
from cxr.sections import Section, like, wanted

_HOST = r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?"
_URL = re.compile(_HOST + r"(/[^\s?#]*)?")
_ORIGIN = re.compile(_HOST)


def _url(given: str) -> str:
    """Check an address, and say which part of it is wrong."""
    if "://" not in given:
        raise wanted("http:// or https:// in front of host and port")
    if "@" in urlsplit(given).netloc:
        raise wanted("an address without user and password, which have keys of their own")
    if not _URL.fullmatch(given):
        raise wanted("https://host:port/path, without ? and #")
    return _with_port(given)


def _origin(given: str) -> str:
    """Check what browsers call a page's origin."""
    if given == "null":
        return given
    if not _ORIGIN.fullmatch(given):
        raise wanted('scheme://host or scheme://host:port without a path or slash, or "null"')
    return _with_port(given)


def _with_port(given: str) -> str:
    digits = re.search(r":([0-9]+)$", urlsplit(given).netloc)
    if digits and not 1 <= int(digits[1]) <= 65535:
        raise wanted("a port from 1 to 65535")
    return given


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


HttpUrl = Annotated[str, AfterValidator(_url)]
"""Without credentials, query or fragment: those have keys of their own, or do not belong."""
Origin = Annotated[str, AfterValidator(_origin)]
AeTitle = Annotated[
    str, Field(min_length=1, max_length=16), like(r"[ -\[\]-~]+", "ASCII without a backslash")
]


class FolderPacs(Section):
    """conf/pacs/folder."""

    target: Literal["cxr.pacs.folder.FolderPacs"] = Field(alias="_target_")
    folder: str


class Peer(Section):
    """One sender of images over DIMSE."""

    aet: AeTitle
    address: Annotated[
        str, Field(min_length=1, max_length=253), like("[A-Za-z0-9.:-]+", "a host name or address")
    ]
    port: int = Field(default=104, ge=1, le=65535)


class Certificate(Section):
    """What a server proves itself with."""

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)


class Server(Section):
    """What every PACS spoken to over HTTP has."""

    url: HttpUrl
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    timeout_s: float = Field(gt=0, le=600)
    threads: int = Field(ge=1, le=64)
    image_url: HttpUrl | None = None

    @model_validator(mode="after")
    def _secrets_travel_encrypted(self) -> "Server":
        for key in ("url", "image_url"):
            given = getattr(self, key)
            host = urlsplit(given).hostname or "" if given else "localhost"
            if given and not given.startswith("https://") and not places.is_loopback(host):
                raise ValueError(
                    f"{key}: expected https:// where the network lies between, met {given!r}"
                )
        return self


class OrthancPacs(Server):
    """conf/pacs/orthanc."""

    target: Literal["cxr.pacs.orthanc.OrthancPacs"] = Field(alias="_target_")
    folder: str
    index: Literal["sqlite", "postgresql"]
    aet: AeTitle
    dimse: bool
    dimse_port: int = Field(ge=1, le=65535)
    peers: list[Peer] = Field(max_length=1000)
    verifier: Literal["njs", "auth_request"]
    allowed_origins: list[Origin] = Field(max_length=100)
    tls: Certificate | None = None
    _in_aws: bool = PrivateAttr(default=False)

    @property
    def in_aws(self) -> bool:
        """Whether the config names an account, so that Orthanc may be a stack's."""
        return self._in_aws

    def expect_aws(self) -> None:
        """Remember that the config names an account."""
        self._in_aws = True

    @model_validator(mode="after")
    def _ports_differ(self) -> "OrthancPacs":
        here = {"url": self.url} if places.is_loopback(urlsplit(self.url).hostname or "") else {}
        if self.image_url:
            host = urlsplit(self.image_url).hostname or ""
            if _port(self.image_url) == _port(self.url) and (
                host == urlsplit(self.url).hostname or (here and places.is_loopback(host))
            ):
                raise ValueError(
                    "image_url: expected another port than url's, which is Orthanc's own, met "
                    f"{self.image_url!r}; null where there is no gateway"
                )
            here["image_url"] = self.image_url
        for key, url in here.items():
            if self.dimse and _port(url) == self.dimse_port:
                raise ValueError(
                    f"dimse_port: expected another port than {key}'s, met {self.dimse_port}"
                )
        return self

    @model_validator(mode="after")
    def _senders_are_listed(self) -> "OrthancPacs":
        if self.dimse and not self.peers:
            raise ValueError(
                "peers: expected the senders that may store, as [{aet: XRAY1, address: 10.1.2.3}]"
            )
        titles = [peer.aet for peer in self.peers]
        for title in titles:
            if titles.count(title) > 1:  # Orthanc would hold all to the first one's address
                raise ValueError(f'peers: expected each AE title once, met "{title}" again')
        return self


class DicomWebPacs(Server):
    """conf/pacs/dicomweb."""

    target: Literal["cxr.pacs.dicomweb.DicomWebPacs"] = Field(alias="_target_")
    auth: Literal["none", "basic", "bearer", "sigv4"]
    token: str | None = None
    region: str | None = None
    seen: str

    @model_validator(mode="after")
    def _credentials_fit(self) -> "DicomWebPacs":
        needs = {"none": (), "basic": ("user", "password"), "bearer": ("token",)}
        for key in needs.get(self.auth, ("region",)):
            if getattr(self, key) is None:
                raise ValueError(f"{key}: expected a value with auth={self.auth}, met none")
        return self


class ShippedPacs(Section):
    """What a training job elsewhere has instead of a PACS; never chosen by hand."""

    target: Literal["cxr.pacs.shipped.ShippedPacs"] = Field(alias="_target_")
    folder: str


Pacs = Annotated[
    FolderPacs | OrthancPacs | DicomWebPacs | ShippedPacs, Field(discriminator="target")
]


class Ingesting(Section):
    """The section `ingest` of conf/ingest.yaml: what is done to a file on its way in."""

    deidentify: Literal["none", "basic"]
    batch: int = Field(ge=1, le=500)
    threads: int = Field(ge=1, le=64)
    rules: dict[str, Severity]

    @field_validator("rules", mode="before")
    @classmethod
    def _off_is_a_severity(cls, given: Any) -> Any:
        """Take YAML's `off`, which is false, for what was written."""
        if not isinstance(given, dict):
            return given
        return {name: ingest_rules.OFF if met is False else met for name, met in given.items()}

    @field_validator("rules")
    @classmethod
    def _rules_exist(cls, given: dict[str, Severity], info: ValidationInfo) -> dict[str, Severity]:
        if wrong := ingest_rules.problem(given):
            raise ValueError(wrong)
        # no profile looks into pixels: what is burned in would still say who it is
        hidden = info.data.get("deidentify") == "basic"
        return ingest_rules.check(({"burned_in": ingest_rules.ERROR} if hidden else {}) | given)
