"""What every route of the portal knows: the job, its answers, who asks.

Kept apart from the routes, so that these need not know each other.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request

from cxr.contract import signing
from cxr.contract.signing import Keys
from cxr.errors import TokenError
from cxr.labeling import Job, Reader, handlers
from cxr.labeling.accounts import Accounts, Attempts
from cxr.labeling.answers import Answers
from cxr.labeling.portal.board import Board
from cxr.labeling.portal.guard import Entrance

MAX_BODY = 2_000_000
"""Bytes of one submitted form; a page full of freehand polygons is a tenth of it."""
MAX_FORM = 16_384
"""Bytes of a form without a script: a name, passphrases."""
LINK_TTL_S = 30 * 86_400
SESSION_TTL_S = 7 * 86_400
_LINK, _SESSION = "portal", "portal-session"
"""Audiences: a link is no cookie, a cookie is no link."""


@dataclass(frozen=True)
class Session:
    """A signed-in browser.

    Attributes:
        reader: Who.
        by: `link` or `passphrase`, which signed her in.
        token: What its cookie holds.
        expires: In seconds since the epoch.
    """

    reader: Reader
    by: str
    token: str = field(repr=False)
    expires: float


@dataclass(frozen=True)
class Portal:
    """What the routes need to know.

    Attributes:
        job: Whose images are labelled.
        answers: Where they go.
        keys: That sign links and sessions.
        entrance: How the portal is reached.
        accounts: The readers' passphrases.
        assets: Name → file, of what pages load.
        pre_annotate: The pre-annotation Lambda's handler, configured for this portal.
        collects: Writes the output manifest of what there is for somebody, and gives its path.
        csrf_key: New at each start; a page opened before asks to be reloaded.
        by_name: Failed sign-ins by name.
        by_address: Failed sign-ins by address; many readers may share a hospital's.
        hashing: Few passphrases are checked at once, and who waits holds no thread.
        board: What lead and adjudicators look at.
    """

    job: Job
    answers: Answers
    keys: Keys
    entrance: Entrance
    accounts: Accounts
    assets: Mapping[str, Path]
    pre_annotate: handlers.Handler
    collects: Callable[[str], Path]
    csrf_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    by_name: Attempts = field(default_factory=lambda: Attempts(free=5))
    by_address: Attempts = field(default_factory=lambda: Attempts(free=20))
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    board: Board = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "board", Board(self.job, self.answers))

    @property
    def url(self) -> str:
        """Give the portal's address, as readers open it."""
        return self.entrance.url

    @property
    def cookie(self) -> str:
        """Name the session's cookie: cookies know no ports, and jobs run side by side."""
        prefix = "__Host-" if self.entrance.secure else ""  # then no other host can set it
        return f"{prefix}cxr_session_{self.job.name}"

    def csrf(self, worker: str) -> str:
        """Give what a page of this worker must send with an answer."""
        return hmac.new(self.csrf_key, worker.encode(), "sha256").hexdigest()

    def member(self, reader_id: str) -> Reader:
        """Find one of the team; who no longer is has no roles left."""
        named = (r for r in self.job.readers if r.id == reader_id)
        return next(named, Reader(reader_id, roles=()))

    def name(self, reader_id: str) -> str:
        """Give what a reader is called: her name where the team says one, else her ID."""
        return self.member(reader_id).name or reader_id

    def task_input(self, data_object: Mapping[str, Any]) -> dict[str, Any]:
        """Give what the page reads, by the event that Ground Truth would send."""
        name = self.job.name
        event = {
            "version": "2018-10-16",
            "labelingJobArn": f"arn:aws:sagemaker:local:000000000000:labeling-job/{name}",
            "dataObject": dict(data_object),
        }
        result: dict[str, Any] = self.pre_annotate(event, None)["taskInput"]
        return result

    @property
    def open(self) -> bool:
        """Whether there is nobody to tell apart: one reader, on this machine, no passphrase."""
        readers = self.job.readers
        alone = len(readers) == 1 and self.entrance.private
        return alone and not self.accounts.has_passphrase(readers[0].id)

    def named(self, name: str) -> Reader | None:
        """Find a reader by ID or by an email address that only she has, in any case."""
        wanted = name.strip().casefold()
        for reader in self.job.readers:
            if reader.id.casefold() == wanted:
                return reader
        mailed = [r for r in self.job.readers if r.email and r.email.casefold() == wanted]
        return mailed[0] if len(mailed) == 1 else None

    def reader(self, token: str) -> Reader:
        """Say whose personal link holds this token.

        Raises:
            TokenError: Nobody's of this job, or older than her passphrase.
        """
        return self._whose(signing.verify(self.keys, token, audience=_LINK))

    def session(self, token: str) -> Session:
        """Read a session's cookie.

        Raises:
            TokenError: It is nobody's of this job, was ended, or is older than her passphrase.
        """
        claims = signing.verify(self.keys, token, audience=_SESSION)
        reader = self._whose(claims)
        if self.accounts.ended(token):
            raise TokenError("this session was ended")
        return Session(
            reader, str(claims.get("sub")).partition(" ")[0], token, float(claims["exp"])
        )

    def begin_session(self, reader: Reader, by: str) -> str:
        """Sign a session's token.

        Args:
            reader: Whose.
            by: `link` or `passphrase`.
        """
        # a passphrase set in this very second counts from the next one on
        now = max(time.time(), self.accounts.valid_from(reader.id))
        return signing.sign(
            self.keys,
            [_scope(self.job, reader.id)],
            ttl_s=SESSION_TTL_S,
            # two sessions begun in one second must not be one, for either may be ended
            subject=f"{by} {secrets.token_hex(8)}",
            audience=_SESSION,
            now=now,
        )

    def _whose(self, claims: Mapping[str, Any]) -> Reader:
        for reader in self.job.readers:
            if signing.opens(claims, _scope(self.job, reader.id)):
                if claims.get("iat", 0) < self.accounts.valid_from(reader.id):
                    raise TokenError("this is older than the passphrase; sign in with that")
                return reader
        raise TokenError("this link is for another job")


def token(job: Job, keys: Keys, reader_id: str) -> str:
    """Sign what a reader's personal link holds."""
    return signing.sign(keys, [_scope(job, reader_id)], ttl_s=LINK_TTL_S, audience=_LINK)


def the_portal(request: Request) -> Portal:
    """Give the portal that a request came to."""
    portal: Portal = request.app.state.portal
    return portal


ThePortal = Annotated[Portal, Depends(the_portal)]


def check_csrf(request: Request, portal: Portal, worker: str) -> None:
    """Refuse a change that no page of this worker asked for.

    Raises:
        HTTPException: 403.
    """
    if not is_csrf(portal, worker, request.headers.get("x-csrf", "")):
        raise HTTPException(403, "reload the page, then submit again")


def is_csrf(portal: Portal, worker: str, given: str) -> bool:
    """Say whether a page of this worker sent this."""
    # as text it would have to be ASCII
    return hmac.compare_digest(given.encode(), portal.csrf(worker).encode())


async def body(request: Request, limit: int = MAX_BODY) -> bytes:
    """Read a request's body.

    Raises:
        HTTPException: 413 where it is longer than `limit` bytes.
    """
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > limit:  # content-length may lie, or be absent
            raise HTTPException(413, f"expected at most {limit} bytes")
    return bytes(read)


async def form(request: Request) -> dict[str, str]:
    """Read a form that a page sent without a script; of a field given twice, the last counts.

    Raises:
        HTTPException: 413 where it is too long, 415 or 422 where it is no such form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "expected a form as application/x-www-form-urlencoded")
    sent = await body(request, MAX_FORM)
    try:
        text = sent.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:
        raise HTTPException(422, "expected a form in UTF-8 with at most 20 fields") from error
    return dict(pairs)


def _scope(job: Job, reader_id: str) -> str:
    return f"reader:{job.name}:{reader_id}"
