"""Where the pixels end, so that nothing is carried along behind them.

Readers stop at the last pixel, and what an exporter left behind it stays unseen: a name, or the
memory that happened to lie there.
"""

import re

from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from cxr.errors import DicomError
from cxr.images import pixels

_HT = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
_START_2000, _SIZE_2000, _TILE, _END = b"\xff\x4f", b"\xff\x51", b"\xff\x90", b"\xff\xd9"
_SCAN = 0xDA
# within a scan, what follows FF is a stuffed byte below 80, or one of the restart markers
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}
_RLE_HEADER = 64


def trimmed(ds: Dataset) -> bytes:
    """Give Pixel Data up to the last pixel, padded to even length; else the same bytes.

    Args:
        ds: A file of one frame, with pixels.

    Raises:
        DicomError: Its end cannot be told.
    """
    data = ds.PixelData
    if not isinstance(data, bytes):
        raise DicomError(f"Pixel Data has the VR {ds['PixelData'].VR}, expected OB or OW")
    if reason := pixels.many_frames(ds):
        raise DicomError(reason)
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        length = get_expected_length(ds)
        return _even(data[:length]) if len(data) > length else data
    table, *parts = generate_fragments(data)
    frame = b"".join(parts)
    if syntax == RLELossless:
        end = _end_of_rle(frame, ds)
    elif syntax in JPEG2000TransferSyntaxes or syntax in _HT:
        end = _end_of_2000(frame)
    elif syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        end = _end_of_jpeg(frame)
    else:
        raise DicomError(f"transfer syntax {syntax.name!r} cannot be decoded")
    harmless = not frame[end:].strip(b"\0") or len(frame) - end == 1
    items = sum(8 + len(part) for part in (table, *parts))
    if harmless and table in (b"", bytes(4)) and len(data) == items:  # no delimiter, and more
        return data
    return encapsulate([frame[:end]], has_bot=False)


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def _end_of_jpeg(frame: bytes) -> int:
    """Walk the marker segments of JPEG or JPEG-LS to the end of the image (ISO 10918-1 B.1)."""
    at = 2
    while at + 2 <= len(frame):
        marker = frame[at + 1]
        if frame[at] != 0xFF:
            break
        if marker == 0xFF:
            at += 1
        elif marker == 0xD9:
            return at + 2
        elif marker in _NO_LENGTH:
            at += 2
        else:
            at += 2 + max(int.from_bytes(frame[at + 2 : at + 4], "big"), 2)
            if marker == _SCAN:
                following = _MARKER.search(frame, at)
                if following is None:
                    break
                at = following.start()
    raise DicomError("damaged: the compressed frame has no end")


def _end_of_2000(frame: bytes) -> int:
    """Go from tile-part to tile-part (ISO 15444-1 A.4.2)."""
    at = frame.find(_START_2000 + _SIZE_2000) + 2
    if at < 2:
        raise DicomError("damaged: the compressed frame has no header")
    while frame[at : at + 2] not in (_TILE, _END) and at < len(frame):
        at += 2 + max(int.from_bytes(frame[at + 2 : at + 4], "big"), 2)
    while frame[at : at + 2] == _TILE:
        length = int.from_bytes(frame[at + 6 : at + 10], "big")
        if not length:  # the last one: no marker stands within packets
            found = frame.find(_END, at + 12)
            at = found if found >= 0 else len(frame)
            break
        at += max(length, 14)
    if frame[at : at + 2] != _END:
        raise DicomError("damaged: the compressed frame has no end")
    return at + 2


def _end_of_rle(frame: bytes, ds: Dataset) -> int:
    """Unpack each segment as far as there are pixels (PS3.5 G.3)."""
    wanted = int(ds.Rows) * int(ds.Columns)
    count = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[at : at + 4], "little") for at in range(4, 64, 4)]
    used, unused = starts[:count], starts[count:]
    if not 1 <= count <= 15 or any(unused) or used != sorted(used) or used[0] != _RLE_HEADER:
        raise DicomError("damaged: the compressed frame has no possible header")
    end = _RLE_HEADER
    for start in used:
        if start - end > 1 and frame[end:start].strip(b"\0"):
            raise DicomError("holds bytes between the segments of its pixels")
        end = _end_of_segment(frame, start, wanted)
    return end


def _end_of_segment(frame: bytes, at: int, wanted: int) -> int:
    done = 0
    while done < wanted:
        if at >= len(frame):
            raise DicomError("damaged: the compressed frame has no end")
        head = frame[at]
        if head < 128:
            at += head + 2
            done += head + 1
        else:
            at += 2 if head > 128 else 1
            done += 257 - head if head > 128 else 0
    if at > len(frame):
        raise DicomError("damaged: the compressed frame has no end")
    if done > wanted + 1:
        raise DicomError("damaged: the compressed frame holds more than its pixels")
    return at
