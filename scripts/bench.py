"""Measure, as ratios taken in one run: `make bench`, or one section by its name.

Each section prints a table and writes `var/bench/<section>.json`: figures, and the machine.
Run it alone; a busy machine measures itself.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

Figures = dict[str, float]


def pixels() -> Figures:
    """Read a 2048×2500 12-bit radiograph to 512 px, against MONAI's reader and transforms."""
    from monai.data import PydicomReader
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize, ScaleIntensity

    from cxr.images import dicom, synth
    from cxr.learning import decoding

    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        path.write_bytes(synth.draw(0, seed=1, size=(2500, 2048))[0])
        chain = Compose(
            [LoadImage(reader=PydicomReader()), EnsureChannelFirst(), ScaleIntensity(),
             Resize((512, 512), mode="area")]
        )  # fmt: skip
        ours, monai = fastest(
            lambda: decoding.decode(path.read_bytes(), image_size=(512, 512)), lambda: chain(path)
        )
        read, _ = fastest(lambda: dicom.read(path), lambda: None)
    return {
        "ours_ms": 1000 * ours, "read_ms": 1000 * read, "monai_ms": 1000 * monai,
        "vs_monai": monai / ours,
    }  # fmt: skip


def learning() -> Figures:
    """Bootstrap 1,000 draws × 14 findings × 5,000 images; gather cached images."""
    from cxr.learning import metrics

    chance = np.random.default_rng(0)
    targets = (chance.random((5000, 14)) < 0.1).astype(np.float64)
    scores = np.clip(chance.normal(0.4, 0.15, targets.shape) + 0.2 * targets, 0, 1)
    patients = chance.integers(0, 2500, 5000).astype(str)
    begun = time.perf_counter()
    metrics.bootstrap(scores, targets, np.ones(targets.shape, bool), patients, draws=1000)
    return {"bootstrap_s": time.perf_counter() - begun}


def portal() -> Figures:
    """Keep answers, each on disk before the reply, against bare fsynced appends."""
    from cxr.labeling.answers import Answers

    count, text = 200, json.dumps({"annotation": "x" * 4000})
    with TemporaryDirectory(dir=".") as folder:  # a tmpfs would know no fsync
        answers = Answers(Path(folder) / "a.db", workers_per_object=1, task_time_limit_s=60)
        answers.add({"source": str(i)} for i in range(count))
        begun = time.perf_counter()
        while task := answers.assign("reader"):
            answers.submit(task.id, text)
        ours = (time.perf_counter() - begun) / count
        answers.close()
        with (Path(folder) / "bare").open("a") as file:
            begun = time.perf_counter()
            for _ in range(count):
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            bare = (time.perf_counter() - begun) / count
    return {"answer_ms": 1000 * ours, "bare_fsync_ms": 1000 * bare, "vs_bare": ours / bare}


def reading_room() -> Figures:
    """Answer image after image in a browser; turn the answers of a large job into labels."""
    import bench_consolidation
    import bench_reading_room

    return {**bench_reading_room.measure(), **bench_consolidation.figures()}


def pacs() -> Figures:
    """Move images in and out of a real Orthanc, against bare requests; make a large manifest."""
    import bench_pacs

    return bench_pacs.measure()


def fastest(*calls: Callable[[], object], rounds: int = 7) -> list[float]:
    """Time calls in turns, and give each one's fastest, in seconds."""
    times = [[] for _ in calls]  # type: list[list[float]]
    for _ in range(rounds):
        for k, call in enumerate(calls):
            begun = time.perf_counter()
            call()
            times[k].append(time.perf_counter() - begun)
    return [min(each) for each in times]


SECTIONS = {
    "pixels": pixels,
    "learning": learning,
    "portal": portal,
    "reading_room": reading_room,
    "pacs": pacs,
}


def main() -> None:
    """Run the sections named, or all."""
    unknown = [name for name in sys.argv[1:] if name not in SECTIONS]
    if unknown:
        sys.exit(f"expected a section out of {', '.join(SECTIONS)}, met {unknown[0]!r}")
    folder = Path(os.environ.get("CXR_ROOT", "var")) / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    for name in sys.argv[1:] or SECTIONS:
        figures = SECTIONS[name]()
        print(name)
        for key, value in figures.items():
            print(f"  {key:<16} {value:.4g}")
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**figures, "machine": machine}, indent=1) + "\n")


if __name__ == "__main__":
    main()
