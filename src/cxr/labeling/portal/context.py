"""What every route of the portal knows: the job, its answers, who asks.

Kept apart from the routes, so that these need not know each other.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from cxr.contract import signing
from cxr.contract.signing import Keys
from cxr.errors import TokenError
from cxr.labeling import Job, Reader, handlers
from cxr.labeling.answers import Answers, Task

MAX_BODY = 2_000_000
"""Bytes of one submitted form; a page full of freehand polygons is a tenth of it."""
LINK_TTL_S = 30 * 86_400
_AUDIENCE = "portal"


@dataclass(frozen=True)
class Portal:
    """What the routes need to know.

    Attributes:
        job: Whose images are labelled.
        answers: Where they go.
        keys: That sign links and sessions.
        url: The portal's own address.
        assets: Name → file, of what pages load.
        pre_annotate: The pre-annotation Lambda's handler, configured for this portal.
        csrf_key: New at each start; a page opened before asks to be reloaded.
    """

    job: Job
    answers: Answers
    keys: Keys
    url: str
    assets: Mapping[str, Path]
    pre_annotate: handlers.Handler
    csrf_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def cookie(self) -> str:
        """Name the session's cookie: cookies know no ports, and jobs run side by side."""
        return f"cxr_session_{self.job.name}"

    def csrf(self, worker: str) -> str:
        """Give what a page of this worker must send with an answer."""
        return hmac.new(self.csrf_key, worker.encode(), "sha256").hexdigest()

    def task_input(self, task: Task) -> dict[str, Any]:
        """Give what the page reads, by the event that Ground Truth would send."""
        name = self.job.name
        event = {
            "version": "2018-10-16",
            "labelingJobArn": f"arn:aws:sagemaker:local:000000000000:labeling-job/{name}",
            "dataObject": dict(task.data_object),
        }
        result: dict[str, Any] = self.pre_annotate(event, None)["taskInput"]
        return result

    @property
    def open(self) -> bool:
        """Whether there is nobody to tell apart: a job of one reader."""
        return len(self.job.readers) == 1

    def reader(self, token: str) -> Reader:
        """Say whose token it is.

        Raises:
            TokenError: Nobody's of this job.
        """
        claims = signing.verify(self.keys, token, audience=_AUDIENCE)
        for reader in self.job.readers:
            if signing.opens(claims, _scope(self.job, reader.id)):
                return reader
        raise TokenError("this link is for another job")


def token(job: Job, keys: Keys, reader_id: str) -> str:
    """Sign what tells a reader apart: in her personal link and in her session's cookie."""
    return signing.sign(keys, [_scope(job, reader_id)], ttl_s=LINK_TTL_S, audience=_AUDIENCE)


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
    given = request.headers.get("x-csrf", "").encode()  # as text it would have to be ASCII
    if not hmac.compare_digest(given, portal.csrf(worker).encode()):
        raise HTTPException(403, "reload the page, then submit again")


async def body(request: Request) -> bytes:
    """Read a request's body.

    Raises:
        HTTPException: 413 where it is longer than `MAX_BODY`.
    """
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MAX_BODY:  # content-length may lie, or be absent
            raise HTTPException(413, f"expected at most {MAX_BODY} bytes")
    return bytes(read)


def _scope(job: Job, reader_id: str) -> str:
    return f"reader:{job.name}:{reader_id}"
