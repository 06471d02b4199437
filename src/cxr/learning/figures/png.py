"""Pictures as PNG data URIs, so that a report needs no file beside it."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_KINDS = {1: 0, 4: 6}  # samples per pixel → colour type of PNG: grey, colours with alpha


def uri(image: NDArray[np.uint8]) -> str:
    """Encode a picture as a PNG data URI, without loss.

    Args:
        image: (H, W) grey, or (H, W, 4) red, green, blue, alpha.
    """
    rows, columns = image.shape[:2]
    samples = image.size // (rows * columns)
    # each line begins with its filter type: 0, none
    flat = image.reshape(rows, columns * samples)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), flat], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 8, _KINDS[samples], 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()
