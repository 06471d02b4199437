"""Five thousand damaged files: each is read or refused with a reason, and none takes the process.

They are read in a process of their own, for a codec in C may end it; `dicom_mutations` makes them.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import dicom_mutations
import numpy as np
import pytest

from cxr.images import dicom

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT.parent / "shared" / "dicom-samples"
FILES = 5000
MINUTES = 12  # of a busy machine; alone it takes one


def read(first: int, last: int) -> tuple[list[str], str]:
    """Read the files of these seeds; gives what was tried, and what ended it early if anything."""
    program = str(ROOT / "tests" / "dicom_mutations.py")
    where = str(SAMPLES) if SAMPLES.is_dir() else ""
    done = subprocess.run(
        [sys.executable, program, str(first), str(last), where],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, errors="replace", check=False, timeout=60 * MINUTES,
    )  # fmt: skip
    tried = done.stdout.splitlines()
    if done.returncode == 0:
        return tried, ""
    # -6 and -11: a codec crashed; -27: it took longer than `dicom_mutations.SECONDS`
    said = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
    return tried, f"seed {tried[-1] if tried else first}: exit code {done.returncode}, {said}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "last"), [(0, 500), pytest.param(500, FILES, marks=pytest.mark.long)]
)
def test_no_damaged_file_crashes_hangs_or_fills_the_memory(first: int, last: int) -> None:
    tried, wrong = read(first, last)

    assert wrong == ""
    assert len(tried) == last - first
    kinds = Counter(line.split()[1].strip(",") for line in tried)
    assert set(kinds) == {kind.__name__ for kind in dicom_mutations.KINDS}


def test_undamaged_files_are_read() -> None:
    for data in dicom_mutations.bases(None):
        dicom_mutations.look(data)
        assert np.ptp(dicom.read(data)) > 0.5


def test_the_same_seed_damages_in_the_same_way() -> None:
    for seed in range(100):
        assert dicom_mutations.mutated(seed, None) == dicom_mutations.mutated(seed, None)
