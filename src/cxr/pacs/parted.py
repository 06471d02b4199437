"""Taking the one part out of a multipart answer (RFC 2046) while it comes, byte for byte."""

from collections.abc import Iterator

_MAX_HEADING = 1 << 16


def only(pieces: Iterator[bytes], boundary: str) -> Iterator[bytes]:
    """Give the content of the only part, in pieces; holds back no more than a boundary's length.

    Args:
        pieces: The body, cut anywhere.
        boundary: From the Content-Type.

    Raises:
        ValueError: There is no part, more than one, or the closing boundary is missing.
    """
    line = b"\r\n--" + boundary.encode("latin-1")
    rest = _after_heading(pieces, line)
    while (at := rest.find(line)) < 0:
        keep = len(line) - 1
        if len(rest) > keep:
            yield rest[:-keep]
            rest = rest[-keep:]
        rest += _next(pieces, "ended before its closing boundary")
    if at:
        yield rest[:at]
    rest = rest[at + len(line) :]
    while len(rest) < 2:
        rest += _next(pieces, "ended within its closing boundary")
    if not rest.startswith(b"--"):
        raise ValueError("holds more than one part")
    for _ in pieces:  # an epilogue; reading it sees the answer to its announced end
        pass


def _after_heading(pieces: Iterator[bytes], line: bytes) -> bytes:
    # a boundary belongs to the line break before it, which the first part may lack
    head = b"\r\n"
    while (at := head.find(line)) < 0 or (end := head.find(b"\r\n\r\n", at + 2)) < 0:
        if at >= 0 and head[at + len(line) :].startswith(b"--"):
            raise ValueError("holds no part")
        if len(head) > _MAX_HEADING:
            raise ValueError("begins with no boundary")
        head += _next(pieces, "ended before its first part")
    if head[at + len(line) :].startswith(b"--"):
        raise ValueError("holds no part")
    # an empty part's content begins with the line break that ends its heading
    return head[end + 4 :] if not head.startswith(line, end + 2) else head[end + 2 :]


def _next(pieces: Iterator[bytes], otherwise: str) -> bytes:
    for piece in pieces:
        return piece
    raise ValueError(otherwise)
