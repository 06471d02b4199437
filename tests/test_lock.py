"""One process per job: a second one is told which has it."""

import os
import subprocess
import sys

import pytest

from cxr.errors import JobError
from cxr.labeling.lock import JobLock

HOLDER = """
import pathlib, sys
from cxr.labeling.lock import JobLock
held = JobLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_portal_is_told_which_process_has_the_job(tmp_path):
    folder = tmp_path / "chest"
    held = JobLock(folder)

    for _ in range(2):
        with pytest.raises(
            JobError, match=f"job 'chest' is open in process {os.getpid()}; stop that one first"
        ):
            JobLock(folder)

    held.release()
    JobLock(folder).release()


def test_a_process_that_was_killed_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(JobError, match=f"is open in process {holder.pid}; stop"):
            JobLock(tmp_path)
        holder.kill()

    JobLock(tmp_path).release()
