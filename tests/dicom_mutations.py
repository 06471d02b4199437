"""DICOM files that nobody wrote: whole ones, damaged in every way that was thought of, by seed.

Run as a script it reads them one after the other, as the project would, under limits of memory
and time; so that whatever kills a codec names the seed that did it:
`python tests/dicom_mutations.py FIRST LAST [SAMPLES]`.
"""

import functools
import io
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memory
import numpy as np
import PIL.Image
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from cxr.errors import DicomError
from cxr.images import dicom, doctor, synth

MEMORY = 4 << 30
"""Bytes of address space; torch is not loaded here."""
RESIDENT = 1 << 30
"""Bytes in memory at most: a radiograph takes 30 MB; a file may inflate to 256 MB, held thrice."""
SECONDS = 20
"""Of processor time for one file. A good one of this size takes 0.02; CharLS in pyjpegls 1.5.1
takes 4 to refuse a stream in which some bytes are missing."""

SYNTAXES = [
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.110", "1.2.3", "",
]  # fmt: skip
VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN "
    b"UR US UT UV ZZ"
).split()
_EXPLICIT = re.compile(b"[\\x08\\x10\\x18\\x20\\x28\\x40]\\0..(" + b"|".join(VRS[:-1]) + b")", re.S)
_ITEM = b"\xfe\xff\x00\xe0"
WHOLE = [
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PlanarConfiguration",
]  # fmt: skip
WORDS = [
    "Modality", "BodyPartExamined", "ViewPosition", "PatientOrientation", "PatientID",
    "StudyInstanceUID", "SOPInstanceUID", "PhotometricInterpretation", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept", "PixelSpacing",
    "ImagerPixelSpacing", "EstimatedRadiographicMagnificationFactor", "PatientAge",
    "PatientBirthDate", "StudyDate", "BurnedInAnnotation", "PresentationLUTShape",
    "PatientName", "PixelPaddingValue", "PixelPaddingRangeLimit", "SpecificCharacterSet",
    "LUTDescriptor", "LUTData", "SmallestImagePixelValue",
]  # fmt: skip
SEQUENCES = [
    "VOILUTSequence", "ModalityLUTSequence", "ViewCodeSequence", "AnatomicRegionSequence",
    "OtherPatientIDsSequence", "SourceImageSequence",
]  # fmt: skip
VALUES: list[Any] = [
    b"", b"\0", b"\\", b"nan", b"inf ", b"-1", b"0 ", b"1e400 ", b"\xff\xfe\xfd\xfc",
    b"\x1b$B\x1b(B",
    b"9" * 400, b"x" * 70000, b"PA\nLL", b"L\\F", b"R\\H", b"\\\\\\\\", b"20991231",
    b"999Y", b"000D",
    b"\0\0\0\0", b"\xff\xff\xff\xff\xff\xff", b"\0\0\0\0\x10\0", b"1.2.3", b"MONOCHROME1 ",
    b"SIGMOID ",
    b"2048", b"0.1\\0.2", b"\x80\x80", b"\xf0\x9f\xa9\xbb",
]  # fmt: skip


def written(ds: pydicom.Dataset) -> bytes:
    """A dataset as a file; whatever it holds."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


@functools.cache
def bases(samples: Path | None) -> list[bytes]:
    """Small whole files, in every encoding that can be written here, and the public samples."""
    native = [synth.draw(i, size=(64, 56))[0] for i in (0, 7, 11)]
    found = [*native, synth.draw(3, size=(256, 208))[0]]
    for syntax in (RLELossless, JPEGLSLossless):
        ds = pydicom.dcmread(io.BytesIO(native[0]))
        ds.compress(syntax, generate_instance_uid=False)
        found.append(written(ds))
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        ds = pydicom.dcmread(io.BytesIO(native[0]))
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        found.append(written(ds))
    for syntax, kind in ((JPEGBaseline8Bit, "JPEG"), (JPEG2000Lossless, "JPEG2000")):
        ds = pydicom.dcmread(io.BytesIO(native[0]))
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
        frame = io.BytesIO()
        if kind == "JPEG":
            pixels = (pixels >> 4).astype(np.uint8)
            ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
            del ds.WindowCenter, ds.WindowWidth
        options = {} if kind == "JPEG" else {"no_jp2": True}
        PIL.Image.fromarray(pixels).save(frame, kind, **options)
        ds.PixelData = encapsulate([frame.getvalue()])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = syntax
        found.append(written(ds))
    found.append(lossless_jpeg(native[0]))
    if samples:
        small = [p for p in sorted(samples.glob("*.dcm")) if p.stat().st_size < 250_000]
        found += [path.read_bytes() for path in small]
    return found


def lossless_jpeg(native: bytes) -> bytes:
    """The same by GDCM, the only one here that writes JPEG lossless, and files alone."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "file.dcm"
        work.write_bytes(native)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(work))
        reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(work))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
        return work.read_bytes()


def pixels_at(data: bytes) -> int:
    """Where Pixel Data begins, or the end."""
    at = max(data.rfind(b"\xe0\x7f\x10\x00OB"), data.rfind(b"\xe0\x7f\x10\x00OW"))
    return at if at > 0 else len(data)


def flips(data: bytes, rng: random.Random, low: int, high: int) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.choice([1, 2, 4, 16, 64])):
        broken[rng.randrange(low, max(high, low + 1))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def flip_header(data: bytes, rng: random.Random) -> bytes:
    return flips(data, rng, 132, pixels_at(data) - 1)


def flip_pixels(data: bytes, rng: random.Random) -> bytes:
    return flips(data, rng, min(pixels_at(data), len(data) - 2), len(data) - 1)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def splice(data: bytes, rng: random.Random) -> bytes:
    """Leave out, repeat or put in a few bytes."""
    at, count = rng.randrange(128, len(data)), rng.choice([1, 2, 8, 100, 5000])
    piece = rng.choice([b"", 2 * data[at : at + count], rng.randbytes(count)])
    return data[:at] + piece + data[at + count :]


def element(data: bytes, rng: random.Random) -> int | None:
    """Where the VR of some element with an explicit one stands."""
    found = [m.start() + 4 for m in _EXPLICIT.finditer(data, 132, pixels_at(data) + 6)]
    return rng.choice(found) if found else None


def tamper_length(data: bytes, rng: random.Random) -> bytes:
    at = element(data, rng)
    if at is None:
        return flip_header(data, rng)
    if data[at : at + 2] in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR"):
        return data[: at + 4] + length(rng) + data[at + 8 :]
    return data[: at + 2] + length(rng)[:2] + data[at + 4 :]


def length(rng: random.Random) -> bytes:
    small, large = rng.randrange(0x10000), rng.randrange(1 << 32)
    return struct.pack(
        "<I", rng.choice([0, 1, 7, small, large, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
    )


def swap_vr(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 3, 10])):
        if (at := element(data, rng)) is not None:
            data = data[:at] + rng.choice(VRS) + data[at + 2 :]
    return data


def undefined_length(data: bytes, rng: random.Random) -> bytes:
    """An element, made a sequence or unknown, whose end is not stated."""
    at = element(data, rng)
    if at is None:
        return flip_header(data, rng)
    return data[:at] + rng.choice([b"SQ", b"UN", b"OB"]) + b"\0\0\xff\xff\xff\xff" + data[at + 4 :]


def swap_syntax(data: bytes, rng: random.Random) -> bytes:
    found = re.search(rb"\x02\0\x10\0UI(..)", data, re.S)
    if not found:
        return flip_header(data, rng)
    new = rng.choice(SYNTAXES).encode()
    new += b"\0" * (len(new) % 2)
    old = int.from_bytes(found[1], "little")
    group = int.from_bytes(data[140:144], "little") + len(new) - old
    tail = struct.pack("<H", len(new)) + new + data[found.end() + old :]
    return data[:140] + struct.pack("<I", group & 0xFFFFFFFF) + data[144 : found.start(1)] + tail


def tamper_items(data: bytes, rng: random.Random) -> bytes:
    """Lengths and offsets of encapsulated pixel data."""
    places = [m.start() for m in re.finditer(re.escape(_ITEM), data)]
    if not places:
        return splice(data, rng)
    at = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0:
        return data[: at + 4] + length(rng) + data[at + 8 :]
    if kind == 1:  # an offset table that points anywhere
        offsets = b"".join(length(rng) for _ in range(rng.choice([1, 2, 100])))
        return data[: places[0]] + _ITEM + struct.pack("<I", len(offsets)) + offsets + data[
            places[0] + 8 :
        ]  # fmt: skip
    if kind == 2:  # no end
        return data.replace(b"\xfe\xff\xdd\xe0", rng.choice([b"", _ITEM, b"\xfe\xff\x0d\xe0"]))
    return data[:at] + data[at : at + 8] * rng.choice([2, 1000]) + data[at + 8 :]


def huge(data: bytes, rng: random.Random) -> bytes:
    """Numbers that say how much memory it takes."""
    ds = opened(data)
    for keyword in rng.sample(WHOLE, rng.choice([1, 1, 2, 4])):
        value = rng.choice([0, 1, 2, 3, 5, 7, 12, 16, 17, 32, 64, 255, 8000, 32768, 65535])
        value = rng.choice([1 << 31, -1, value]) if keyword == "NumberOfFrames" else value
        setattr(ds, keyword, value)
    return written(ds)


def opened(data: bytes) -> pydicom.Dataset:
    ds = pydicom.dcmread(io.BytesIO(data))
    if ds.file_meta.TransferSyntaxUID.is_deflated or not ds.is_little_endian:
        ds = pydicom.dcmread(io.BytesIO(bases(None)[0]))
    return ds


def strange_values(data: bytes, rng: random.Random) -> bytes:
    ds = opened(data)
    for keyword in rng.sample(WORDS, rng.choice([1, 2, 5])):
        raw = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(keyword), pydicom.datadict.dictionary_VR(keyword).split()[0],
            0, rng.choice(VALUES), 0, False, True,
        )  # fmt: skip
        ds[raw.tag] = raw
    return serialised(ds, data)


def serialised(ds: pydicom.Dataset, instead: bytes) -> bytes:
    try:
        return written(ds)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return instead  # pydicom will not write it


def strange_sequences(data: bytes, rng: random.Random) -> bytes:
    ds = opened(data)
    item = pydicom.Dataset()
    if rng.random() < 0.7:
        first = rng.choice([0, 1, 2000, 65535])
        item.add_new(
            "LUTDescriptor", "US", [rng.choice([0, 4, 4096]), first, rng.choice([0, 8, 16, 99])]
        )
        item.add_new("LUTData", "OW", rng.randbytes(rng.choice([0, 8, 8192])))
        item.add_new("CodeValue", "SH", rng.choice(["", "R-10236", "x" * 999]))
    keyword = rng.choice(SEQUENCES)
    setattr(ds, keyword, pydicom.Sequence([item] * rng.choice([0, 1, 3])))
    return serialised(ds, data)


def nested(data: bytes, rng: random.Random) -> bytes:
    """Sequences in sequences, thousands of them; each says that it ends later."""
    deep = rng.choice([3, 50, 900, 1100, 20000])
    level = b"\x08\0\x12\x21SQ\0\0\xff\xff\xff\xff" + _ITEM + b"\xff\xff\xff\xff"
    at = data.find(b"\x08\0\x16\0UI")
    return data[: max(at, 132)] + level * deep + data[max(at, 132) :]


def bomb(data: bytes, rng: random.Random) -> bytes:
    """A little that inflates to a lot."""
    end = 144 + int.from_bytes(data[140:144], "little")
    meta = swap_syntax_to(data[:end], DeflatedExplicitVRLittleEndian)
    size = rng.choice([1 << 16, 1 << 24, (1 << 28) - (1 << 20), (1 << 28) + (1 << 25)])
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = b"\x08\0\x60\0CS\2\0DX" + b"\xe0\x7f\x10\0OB\0\0" + struct.pack("<I", size & 0xFFFFFFFE)
    body = packer.compress(head)
    for _ in range(size >> 16):
        body += packer.compress(b"\0" * (1 << 16))
    return meta + body + packer.flush()


def swap_syntax_to(meta: bytes, uid: str) -> bytes:
    class Only(random.Random):
        def choice(self, seq: Any) -> Any:
            return uid

    return swap_syntax(meta, Only())


def frame_at(data: bytes) -> int:
    """Where the first frame of encapsulated pixel data begins; past the offset table."""
    at = data.find(_ITEM, pixels_at(data))
    if at < 0:
        return -1
    return at + 16 + int.from_bytes(data[at + 4 : at + 8], "little")


def damage_markers(data: bytes, rng: random.Random) -> bytes:
    """JPEG of any kind: a marker's own length, or its first bytes."""
    start = frame_at(data)
    places = [m.start() for m in re.finditer(rb"\xff[\x01-\xfe]", data[start : start + 600])]
    if start < 0 or not places:
        return flip_pixels(data, rng)
    broken = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = start + rng.choice(places)
        kind = rng.randrange(3)
        if kind == 0:
            broken[at + 1] = rng.randrange(256)
        elif kind == 1:
            broken[at + 2 : at + 4] = length(rng)[:2]
        else:
            where = at + 4 + rng.randrange(16)
            broken[where : where + 1] = bytes([rng.choice([0, 1, 2, 127, 255, rng.randrange(256)])])
    return bytes(broken)


def inflate_frame(data: bytes, rng: random.Random) -> bytes:
    """A frame whose own header says that it is huge."""
    start = frame_at(data)
    big = struct.pack(">H", rng.choice([0, 1, 4000, 16384, 30000, 65500, 65535]))
    found = re.search(rb"\xff[\xc0-\xc3\xf7]\0.", data[start : start + 600], re.S)
    if start > 0 and found:
        at = start + found.start() + 5
        return (
            data[:at]
            + big
            + (big if rng.random() < 0.7 else data[at + 2 : at + 4])
            + data[at + 4 :]
        )
    if start > 0 and data[start : start + 4] == b"\xff\x4f\xff\x51":
        at, size = (
            start + 8,
            struct.pack(">I", rng.choice([1, 5000, 60000, 1 << 20, (1 << 32) - 1])),
        )
        tile = size if rng.random() < 0.5 else data[at + 16 : at + 20]
        return data[:at] + 2 * size + data[at + 8 : at + 16] + 2 * tile + data[at + 24 :]
    return huge(data, rng)


def damage_rle(data: bytes, rng: random.Random) -> bytes:
    """The header of 16 numbers before run-length encoded segments (PS3.5 G.5)."""
    start = frame_at(data)
    if start < 0 or b"1.2.840.10008.1.2.5\0" not in data[:1000]:
        return tamper_items(data, rng)
    broken = bytearray(data)
    for _ in range(rng.choice([1, 2, 5])):
        at = start + 4 * rng.randrange(16)
        broken[at : at + 4] = rng.choice([length(rng), struct.pack("<I", rng.randrange(200))])
    return bytes(broken)


KINDS: list[Callable[[bytes, random.Random], bytes]] = [
    flip_header, flip_pixels, truncate, splice, tamper_length, swap_vr, undefined_length,
    swap_syntax, tamper_items, huge, strange_values, strange_sequences, nested, bomb,
    damage_markers, inflate_frame, damage_rle,
]  # fmt: skip
_RARE = {bomb: 0.04, nested: 0.4}


def mutated(seed: int, samples: Path | None) -> tuple[str, bytes]:
    """One damaged file, and what was done to it; the same for the same seed."""
    rng = random.Random(seed)
    data = rng.choice(bases(samples))
    kind = rng.choices(KINDS, [_RARE.get(kind, 1) for kind in KINDS])[0]
    done = kind.__name__
    data = kind(data, rng)
    if rng.random() < 0.15:
        more = rng.choice([flip_header, flip_pixels, truncate, damage_markers, tamper_items])
        done, data = f"{done}, {more.__name__}", more(data, rng) if len(data) > 400 else data
    return done, data


def look(data: bytes) -> None:
    """Do with a file what the project does with files.

    Raises:
        AssertionError: Something other than a value or a reason came of it.
    """
    refused = 0
    for ask in (dicom.identify, dicom.read, dicom.pixel_hash):
        try:
            answer, reason = ask(data), ""
        except DicomError as error:
            answer, reason = None, str(error)
            refused += 1
            check(reason)
        if isinstance(answer, np.ndarray):
            assert answer.dtype == np.float32
            assert answer.min() >= 0
            assert answer.max() <= 1
    found = doctor.examine(data)
    for verdict in found.verdicts:
        check(verdict.met)
    assert found.problems or not refused, "a file that cannot be read came in"
    assert bool(found.pixel_hash) != bool(found.problems)


def check(reason: str) -> None:
    """A reason is one line of something."""
    assert reason.strip(), "no reason"
    assert reason.isprintable(), reason
    assert len(reason) < 500, "a novel for a reason"


def main(first: int, last: int, samples: Path | None) -> None:
    """Read the files of a range of seeds; the last line on stdout is the seed under way."""
    warnings.simplefilter("ignore")
    bases(samples)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends a codec that hangs, too
    before = 0
    for seed in range(first, last):
        done, data = mutated(seed, samples)
        sys.stdout.write(f"{seed} {done}\n")
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        look(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        peak = memory.peak()
        assert peak < RESIDENT or peak == before, f"took {peak >> 20} MB"
        before = max(peak, before)


if __name__ == "__main__":
    where = Path(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3] else None
    main(int(sys.argv[1]), int(sys.argv[2]), where)
