"""Multipart bodies (RFC 2046, RFC 2387), and which of several forms a client accepts."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message

from starlette.responses import StreamingResponse


@dataclass(frozen=True)
class Accepted:
    """One form a client accepts.

    Attributes:
        kind: Media type, of the parts where several may come; `*/*` is any.
        transfer_syntax: UID, `*` for as it is stored, empty for the default.
        parts: Whether it may come as multipart/related.
        single: Whether it may come alone.
    """

    kind: str
    transfer_syntax: str
    parts: bool
    single: bool

    def takes(self, kind: str, transfer_syntax: str) -> bool:
        """Say whether bytes of this kind and transfer syntax would do."""
        family = kind.partition("/")[0] + "/*"
        return self.kind in ("*/*", kind, family) and self.transfer_syntax in (
            "*",
            "",
            transfer_syntax,
        )


def accepted(header: str | None) -> list[Accepted]:
    """Read an Accept header, in its own order; none is like `*/*`.

    >>> accepted('multipart/related; type="application/dicom"; transfer-syntax=*')
    [Accepted(kind='application/dicom', transfer_syntax='*', parts=True, single=False)]
    """
    found = []
    for item in _split(header or "*/*", ","):
        kind, parameters = content_type(item)
        syntax = parameters.get("transfer-syntax", "")
        if kind in ("multipart/related", "multipart/*"):
            part = parameters.get("type", "*/*").lower()
            found.append(Accepted(part, syntax, parts=True, single=False))
        else:
            found.append(Accepted(kind, syntax, parts=kind == "*/*", single=True))
    return found


def content_type(value: str) -> tuple[str, dict[str, str]]:
    """Read a media type and its parameters.

    >>> content_type('multipart/related; type="application/dicom"; boundary=x')
    ('multipart/related', {'type': 'application/dicom', 'boundary': 'x'})
    """
    kind, *rest = _split(value, ";")
    pairs = (item.partition("=") for item in rest)
    return kind.lower(), {name.strip().lower(): text.strip(' "') for name, _, text in pairs}


def _split(text: str, separator: str) -> list[str]:
    """Split outside of quotation marks."""
    parts, quoted = [""], False
    for character in text:
        quoted ^= character == '"'
        if character == separator and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def response(parts: Iterable[tuple[str, Iterable[bytes]]], kind: str) -> StreamingResponse:
    """Send parts, each with its content type, as they are read.

    Args:
        parts: Content type, and the bytes in pieces.
        kind: Media type of the parts.
    """
    boundary = secrets.token_hex(16)

    def stream() -> Iterator[bytes]:
        for heading, pieces in parts:
            yield f"--{boundary}\r\nContent-Type: {heading}\r\n\r\n".encode()
            yield from pieces
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return StreamingResponse(
        stream(), media_type=f'multipart/related; type="{kind}"; boundary={boundary}'
    )


def read(body: bytes, boundary: str) -> Iterator[tuple[str, bytes]]:
    """Take a body apart: content type, bytes.

    Raises:
        ValueError: It has no boundary, or does not end with it.
    """
    # a boundary belongs to the line break before it, and the first part has none
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    del first
    if not parts or not parts[-1].startswith(b"--"):
        raise ValueError("expected parts up to a closing boundary, met none")
    for part in parts[:-1]:
        head, found, content = part.partition(b"\r\n\r\n")
        if not found:
            raise ValueError("expected a part to have a heading, met none")
        yield _heading(head), content


def _heading(head: bytes) -> str:
    message = Message()
    for line in head.decode("latin-1").split("\r\n"):
        name, found, value = line.partition(":")
        if found:
            message[name.strip()] = value.strip()
    return str(message.get("Content-Type", "application/dicom"))
