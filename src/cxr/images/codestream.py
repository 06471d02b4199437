"""What a compressed frame says of its own size, before a decoder believes it.

Decoders allocate what the frame's header asks for, whatever the DICOM header says: a damaged file
of 5 KB then takes 3.8 GB (JPEG 2000 by pylibjpeg-openjpeg 2.6.0, JPEG-LS by pyjpegls 1.5.1), or
keeps GDCM 3.2.6 busy for longer than 20 s. GDCM crashes on lossless JPEG of 122 bits.
"""

import math

from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import RLELossless

from cxr.errors import DicomError

_JP2 = b"\0\0\0\x0cjP  "
_START_2000, _SIZE_2000 = b"\xff\x4f", b"\xff\x51"
_START = b"\xff\xd8"
# ISO 10918-1 table B.1, ISO 14495-1: frame headers of all processes, JPEG-LS's too
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}
_SCAN, _END = 0xDA, 0xD9
_MOST_TILES = 65535


def check(ds: Dataset, rows: int, columns: int) -> None:
    """Make sure that the one compressed frame is as large as the header says.

    Raises:
        DicomError: It is not, or does not say.
    """
    if ds.file_meta.TransferSyntaxUID == RLELossless:
        return  # has no header of its own that says a size
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    *met, bits = size(frame)
    if not 1 <= bits <= int(ds.BitsAllocated):
        raise DicomError(
            f"damaged: the compressed frame has {bits} bits, expected at most {ds.BitsAllocated}"
        )
    if met != [rows, columns, 1]:
        raise DicomError(
            f"damaged: the compressed frame has {met[0]} rows, {met[1]} columns and "
            f"{met[2]} samples, expected {rows}, {columns} and 1"
        )


def size(frame: bytes) -> tuple[int, int, int, int]:
    """Read rows, columns, samples per pixel and bits of a JPEG, JPEG-LS or JPEG 2000 frame.

    Raises:
        DicomError: It does not begin as one, or breaks off before its size.
    """
    if frame.startswith(_JP2):
        frame = frame[max(frame.find(_START_2000 + _SIZE_2000), 0) :]
    if frame.startswith(_START_2000 + _SIZE_2000):
        return _size_2000(frame)
    if not frame.startswith(_START):
        raise DicomError("damaged: the compressed frame has no header")
    return _size(frame)


def _size_2000(frame: bytes) -> tuple[int, int, int, int]:
    """ISO 15444-1 A.5.1: the reference grid, where the image and the tiles lie on it."""
    if len(frame) < 45:
        raise DicomError("damaged: the compressed frame is truncated")
    right, bottom, left, top, wide, high, beside, above = (
        int.from_bytes(frame[at : at + 4], "big") for at in range(8, 40, 4)
    )
    rows, columns = bottom - top, right - left
    tiles = math.inf
    if wide and high:
        tiles = math.ceil((right - beside) / wide) * math.ceil((bottom - above) / high)
    if not 0 < tiles <= _MOST_TILES:
        raise DicomError("damaged: the compressed frame has no possible number of tiles")
    # one byte each of sign and bits, and of sampling twice; the bits of the first sample
    return rows, columns, int.from_bytes(frame[40:42], "big"), (frame[42] & 0x7F) + 1


def _size(frame: bytes) -> tuple[int, int, int, int]:
    """Walk the marker segments up to the first scan (ISO 10918-1 B.1.1)."""
    at, found = 2, None
    while at + 4 <= len(frame):
        marker = frame[at + 1]
        if frame[at] != 0xFF or marker == 0:
            raise DicomError("damaged: the compressed frame's header is broken")
        if marker == 0xFF:
            at += 1
            continue
        if marker in (_SCAN, _END):
            break
        if marker in _ALONE:
            at += 2
            continue
        if marker in _FRAMES:
            if found is not None:
                raise DicomError("damaged: the compressed frame states its size twice")
            rows, columns = (int.from_bytes(frame[at + n : at + n + 2], "big") for n in (5, 7))
            bits, samples = (int.from_bytes(frame[at + n : at + n + 1], "big") for n in (4, 9))
            found = rows, columns, samples, bits
        at += 2 + max(int.from_bytes(frame[at + 2 : at + 4], "big"), 2)
    if found is None:
        raise DicomError("damaged: the compressed frame breaks off, or states no size")
    return found
