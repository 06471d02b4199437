"""One process a run, and none beside a withdrawal; who comes second is told who was first."""

import os
import socket

import pytest

from cxr.errors import RunError
from cxr.infra import holds

HERE = f"process {os.getpid()} on {socket.gethostname()}"


def test_a_second_process_of_a_run_is_told_which_has_it(tmp_path):
    with holds.held(tmp_path, "nih-1"):
        for _ in range(2):
            with (
                pytest.raises(RunError, match=f"name: run 'nih-1' is at work already, in {HERE};"),
                holds.held(tmp_path, "nih-1"),
            ):
                pass
    with holds.held(tmp_path, "nih-1"):
        pass


def test_other_runs_and_evaluations_go_on_beside_it(tmp_path):
    names = (("all",), ("nih-1",), ("nih-1", "clinic"), ("nih-1", "ward"), ("nih-1.clinic",))
    for taken in names:
        with holds.held(tmp_path, *taken):
            assert [name for name in names if is_refused(tmp_path, *name)] == [taken]


def is_refused(root, *names):
    try:
        with holds.held(root, *names):
            return False
    except RunError:
        return True


def test_a_withdrawal_is_told_all_that_is_at_work(tmp_path):
    with (
        holds.held(tmp_path, "all"),
        holds.held(tmp_path, "nih-1", "clinic"),
        pytest.raises(RunError) as caught,
        holds.none(tmp_path),
    ):
        pass

    assert str(caught.value) == (
        "withdraw: expected no training, ensemble or evaluation at work, met run 'all' in "
        f"{HERE} and run 'nih-1' on job 'clinic' in {HERE}; wait for it or stop it, then withdraw "
        "again"
    )


def test_nothing_begins_during_a_withdrawal(tmp_path):
    with (
        holds.none(tmp_path),
        pytest.raises(RunError, match="a patient is removed just now; wait for it, then run"),
        holds.held(tmp_path, "nih-1"),
    ):
        pass
    with holds.held(tmp_path, "nih-1"):
        pass


def test_locks_are_private_and_a_root_that_cannot_be_written_is_one_sentence(tmp_path):
    with holds.held(tmp_path, "nih-1"):
        modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "at-work").iterdir()}
    assert modes == {".all": 0o600, "nih-1.lock": 0o600}
    assert (tmp_path / "at-work").stat().st_mode & 0o777 == 0o700

    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match="cannot write: Not a directory"),
        holds.none(tmp_path / "file"),
    ):
        pass
