"""Measure bulk transfers against a real Orthanc of its own, and beside them bare requests loops.

Part of the section `pacs` of scripts/bench.py. `python scripts/bench_pacs.py memory` measures by
itself how much memory a copy of 1,000 and of 50,000 instances takes.
"""

import hashlib
import json
import math
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from cxr import pacs_schema
from cxr.images import dicom, synth
from cxr.infra.orthanc import server
from cxr.pacs import ledger, sources, transfer
from cxr.pacs.folder import FolderPacs
from cxr.pacs.ingest import Ingest
from cxr.pacs.orthanc import OrthancPacs

THREADS, BATCH, PASSWORD = 4, 50, "a-password-for-the-bench"
SMALL, LARGE, ROUNDS = 800, 40, 5
Figures = dict[str, float]

_MANIFEST = r"""
import re, sys, time
from pathlib import Path
from cxr.contract.labels import from_names
from cxr.images.dicom import Instance
from cxr.labeling import selection
from cxr.pacs import matching
from cxr.pacs.folder import FolderPacs
folder, filled = Path(sys.argv[1]), sys.argv[2:]
with FolderPacs(folder / "pacs") as pacs:
    with pacs.index.alone():
        for n in range(0 if filled else 50_000):
            uids = [f"1.2.3.{n // 2}", f"1.2.3.{n // 2}.1", f"1.2.3.{n // 2}.1.{n}"]
            found = Instance(f"P{n // 4}", *uids)
            row = dict.fromkeys(matching.ATTRIBUTES) | {"PatientID": found.patient_id}
            row |= dict(zip(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), uids))
            row |= {"transfer_syntax_uid": "", "age_years": None, "burned_in": None, "size": 0}
            row |= {"view": "frontal", "orthanc_id": found.orthanc_id}
            pacs.index.add(row | {"sha256": "", "pixel_hash": ""})
    names = from_names([f"finding {k}" for k in range(14)])
    begun = time.perf_counter()
    if filled: selection.from_query(folder, pacs, query={}, views=["frontal"], label_set=names)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]
    print(time.perf_counter() - begun, int(peak) / 1024)
"""


def measure() -> Figures:
    """Upload, download and ingest, ours and bare in turns; a manifest of 50,000 images."""
    with TemporaryDirectory(dir=".") as place, orthanc(Path(place)) as pacs:
        folder = Path(place)
        figures = uploads(pacs) | downloads(pacs, folder) | ingests(pacs, folder)
        for step in ([], ["filled"]):  # what made the rows has more memory than who reads them
            done = subprocess.run(
                [sys.executable, "-c", _MANIFEST, place, *step],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
    seconds, mb = map(float, done.stdout.split())
    return figures | {"manifest_50k_s": seconds, "manifest_50k_mb": mb}


@contextmanager
def orthanc(folder: Path) -> Iterator[OrthancPacs]:
    """Run an Orthanc on a free port, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    section = pacs_schema.OrthancPacs.model_validate({
        "_target_": "cxr.pacs.orthanc.OrthancPacs", "url": f"http://127.0.0.1:{port}",
        "user": "cxr", "password": PASSWORD, "timeout_s": 60.0, "threads": THREADS,
        "folder": str(folder / "orthanc"), "index": "sqlite", "aet": "CXR", "dimse": False,
        "dimse_port": 4242, "peers": [], "verifier": "njs", "allowed_origins": [],
    })  # fmt: skip
    home = (folder / "orthanc").resolve()
    server.start(section, home, password=PASSWORD)
    try:
        with OrthancPacs.opened(section, root=folder) as pacs:
            yield pacs
    finally:
        server.stop(home)


def copies(size: tuple[int, int], count: int) -> Iterator[bytes]:
    """Give files that differ in patient and in all UIDs, and in nothing else."""
    file = synth.draw(0, seed=secrets.randbelow(10**6), size=size)[0]
    found = dicom.identify(file)
    for number in range(count):
        made = file
        for uid in {found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid}:
            stem = f"{secrets.randbelow(10**12):012}{number:05}"
            made = made.replace(uid.encode(), (uid[: -len(stem)] + stem).encode())
        old = found.patient_id.encode()
        made = made.replace(old, f"{number:0{len(old)}}".encode()[: len(old)])
        yield made


def uploads(pacs: OrthancPacs) -> Figures:
    """Store files of 33 KB by STOW-RS, in batches, several requests at once.

    Ours asks what is there before and after, as an ingest does; who each file is, is known from
    the check, which `ingest_per_s` measures too.
    """

    def ours(batch: Sequence[bytes]) -> None:
        wrong = [it for it in pacs.store_all(batch, known(batch)) if isinstance(it, Exception)]
        if wrong:
            raise wrong[0]

    who: dict[int, dicom.Instance] = {}

    def known(batch: Sequence[bytes]) -> list[dicom.Instance]:
        return [who[id(file)] for file in batch]

    def bare(batch: Sequence[bytes]) -> None:
        mark = b"a-boundary-between-the-files"
        head = b"--" + mark + b"\r\nContent-Type: application/dicom\r\n\r\n"
        body = b"".join(head + file + b"\r\n" for file in batch) + b"--" + mark + b"--\r\n"
        kind = f'multipart/related; type="application/dicom"; boundary={mark.decode()}'
        answer = _session().post(
            f"{pacs.name}/dicom-web/studies", data=body, headers={"Content-Type": kind}, timeout=60
        )
        answer.raise_for_status()

    def upload(send: Callable[[Sequence[bytes]], None]) -> float:
        files = list(copies((128, 128), SMALL))
        who.update((id(file), dicom.identify(file)) for file in files)
        begun = time.perf_counter()
        _at_once(send, [files[at : at + BATCH] for at in range(0, SMALL, BATCH)])
        return time.perf_counter() - begun

    mine, others = _in_turns(lambda: upload(ours), lambda: upload(bare))
    return {"upload_per_s": SMALL / mine, "upload_vs_bare": others / mine}


def downloads(pacs: OrthancPacs, folder: Path) -> Figures:
    """Copy radiographs of 10 MB to plain folders: search, ledger, digests and all.

    The bare loop asks for each file's MD5 and checks it too, or it would promise less; how much
    the check costs against a loop without one is `download_vs_unchecked`.
    """
    files = list(copies((2500, 2048), LARGE))
    sizes = sum(map(len, files))
    found = [dicom.identify(file) for file in files]
    _at_once(pacs.store_all, [files[at : at + 5] for at in range(0, LARGE, 5)])
    query = {"StudyInstanceUID": [instance.study_instance_uid for instance in found]}
    rounds = iter(range(1000))

    def ours() -> float:
        to = folder / f"ours{next(rounds)}"
        begun = time.perf_counter()
        with ledger.Ledger(to.with_suffix(".sqlite")) as noted:
            done = transfer.to_folder(pacs, query, to, noted, key=b"k" * 32, threads=THREADS)
        seconds = time.perf_counter() - begun
        if (done.copied, done.size) != (LARGE, sizes):
            raise ValueError(f"expected {LARGE} copies, met {done}")
        return seconds

    def bare(*, checked: bool) -> float:
        to = folder / f"bare{next(rounds)}"
        to.mkdir()

        def fetch(name: str) -> None:
            url = f"{pacs.name}/instances/{name}/file"
            part, digest = to / f"{name}.part", hashlib.md5(usedforsecurity=False)
            if checked:
                path = f"{pacs.name}/instances/{name}/attachments/dicom/md5"
                expected = _session().get(path, timeout=60).text
            with _session().get(url, stream=True, timeout=60) as answer, part.open("wb") as file:
                for piece in answer.iter_content(1 << 20):
                    file.write(piece)
                    if checked:
                        digest.update(piece)
            if checked and digest.hexdigest() != expected:
                raise ValueError(f"expected {expected}, met {digest.hexdigest()}")
            part.replace(to / f"{name}.dcm")

        begun = time.perf_counter()
        _at_once(fetch, [instance.orthanc_id for instance in found])
        return time.perf_counter() - begun

    mine, alike, unchecked = _in_turns(
        ours, lambda: bare(checked=True), lambda: bare(checked=False)
    )
    return {
        "download_mb_per_s": sizes / 1e6 / mine,
        "download_vs_bare": alike / mine,
        "download_vs_unchecked": unchecked / mine,
    }


def ingests(pacs: OrthancPacs, folder: Path) -> Figures:
    """Check, note, store and report a folder of files of 33 KB."""
    place = folder / "in"
    place.mkdir()
    for number, file in enumerate(copies((128, 128), SMALL)):
        (place / f"{number:04}.dcm").write_bytes(file)
    begun = time.perf_counter()
    with Ingest(folder / "root", pacs, workers=os.cpu_count() or 1, batch=BATCH) as run:
        done = run.run(sources.Folder(place))
        list(run.rows())
    if done.stored != SMALL:
        raise ValueError(f"expected {SMALL} stored, met {done}")
    return {"ingest_per_s": SMALL / (time.perf_counter() - begun)}


def memory(count: int) -> None:
    """Copy tiny files out of a folder PACS, and print the peak of memory before and after."""
    with TemporaryDirectory(dir=".") as place:
        with FolderPacs(Path(place) / "pacs") as pacs:
            for file in copies((32, 32), count):
                staged = pacs.stage(file, pixel_hash="")
                pacs.admit(staged)
        before = _peak_mb()
        begun = time.perf_counter()
        with (
            FolderPacs(Path(place) / "pacs") as pacs,
            ledger.Ledger(Path(place) / "l.sqlite") as noted,
        ):
            done = transfer.to_folder(
                pacs, {}, Path(place) / "to", noted, key=b"k" * 32, threads=THREADS
            )
        seconds = time.perf_counter() - begun
    after = _peak_mb()
    print(json.dumps({"copied": done.copied, "s": seconds, "before_mb": before, "after_mb": after}))


def _peak_mb() -> float:
    """Give the most memory that this process had; getrusage counts its parent's too."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else math.nan


_local = threading.local()


def _session() -> requests.Session:
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
        _local.session.auth = ("cxr", PASSWORD)
    session: requests.Session = _local.session
    return session


def _at_once(call: Callable[..., object], items: Sequence[object]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, items))


def _in_turns(*calls: Callable[[], float]) -> list[float]:
    """Give each one's fastest; the first round warms up."""
    times = [[call() for call in calls] for _ in range(ROUNDS)][1:]
    return [min(each) for each in zip(*times, strict=True)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        for size in sys.argv[2:] or ["1000", "50000"]:
            if len(sys.argv) == 3:
                memory(int(size))
            else:
                subprocess.run([sys.executable, __file__, "memory", size], check=True)
    else:
        for key, value in measure().items():
            print(f"{key:<20} {value:.4g}")
