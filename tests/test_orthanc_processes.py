"""Servers that outlive their starter: who they are, and that they end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cxr.errors import PacsError
from cxr.infra.orthanc import processes
from cxr.infra.orthanc.processes import Daemon

SLEEP = [sys.executable, "-c", "import time; time.sleep(100)"]
DEAF = [sys.executable, "-c", (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(100)"
)]  # fmt: skip


@pytest.fixture
def daemon(tmp_path):
    made = Daemon("sleeper", tmp_path / "all")
    yield made
    made.stop(by=signal.SIGKILL)


def test_a_server_outlives_the_process_that_starts_it(tmp_path, daemon):
    code = (
        "import sys, pathlib; from cxr.infra.orthanc.processes import Daemon; "
        "Daemon('sleeper', pathlib.Path(sys.argv[1])).start(sys.argv[2:], fingerprint='x')"
    )

    subprocess.run([sys.executable, "-c", code, tmp_path / "all", *SLEEP], check=True)

    pid = daemon.pid()
    assert os.getsid(pid) == pid
    assert daemon.runs_with("x")
    assert not daemon.runs_with("y")
    assert daemon.stop()
    assert daemon.pid() is None
    assert not daemon.stop()


def test_a_process_that_got_the_number_of_a_dead_one_is_left_alone(daemon):
    daemon.start(SLEEP, fingerprint="x")
    noted = daemon.folder / "run" / "sleeper.pid"
    time.sleep(0.05)  # numbers come round later than within one tick of the clock
    other = subprocess.Popen(SLEEP)
    mine = daemon.pid()

    noted.write_text(json.dumps(json.loads(noted.read_text()) | {"pid": other.pid}))

    assert daemon.pid() is None
    assert not daemon.stop()
    assert other.poll() is None
    other.kill()
    other.wait()
    os.kill(mine, signal.SIGKILL)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "12"}', '{"pid": 999999999}', "7"])
def test_a_broken_pid_file_means_that_nothing_runs(daemon, text):
    (daemon.folder / "run").mkdir(parents=True)
    (daemon.folder / "run" / "sleeper.pid").write_text(text)

    assert daemon.pid() is None
    assert not daemon.stop()


def test_a_killed_server_is_seen_as_ended_though_nobody_asked_for_its_status(daemon):
    daemon.start(SLEEP, fingerprint="x")

    os.kill(daemon.pid(), signal.SIGKILL)

    daemon._ends_within(10)
    assert daemon.pid() is None


def test_a_server_that_does_not_listen_is_killed_with_a_warning(daemon, caplog):
    daemon.start(DEAF, fingerprint="x")
    daemon.wait(lambda: "deaf" in daemon.log.read_text(), 20)

    assert daemon.stop(limit_s=0.3)

    assert "sleeper did not end within 0.3 s and is killed" in caplog.text
    assert daemon.pid() is None


def test_two_of_one_are_refused(daemon):
    daemon.start(SLEEP, fingerprint="x")

    with pytest.raises(PacsError, match="sleeper runs already, as process"):
        daemon.start(SLEEP, fingerprint="x")


def test_a_server_that_ends_at_once_leaves_its_reason(daemon):
    words = "print('hello'); print('FATAL: no room'); print('bye'); raise SystemExit(3)"
    daemon.start([sys.executable, "-c", words], fingerprint="x")

    with pytest.raises(PacsError, match=r"ended while it started: FATAL: no room \(.*log\)"):
        daemon.wait(lambda: False, 20)


def test_a_server_that_never_answers_is_given_up(daemon):
    daemon.start(SLEEP, fingerprint="x")

    with pytest.raises(PacsError, match=r"gave no answer within 0\.2 s: it said nothing"):
        daemon.wait(lambda: False, 0.2)


def test_a_program_that_cannot_run_is_one_sentence(daemon):
    with pytest.raises(PacsError, match="/nowhere/server: cannot be started: No such file"):
        daemon.start(["/nowhere/server"], fingerprint="x")


def test_files_are_private_and_old_logs_are_kept_and_counted(daemon):
    for number in range(8):
        daemon.start([sys.executable, "-c", f"print({number})"], fingerprint="x")
        daemon._ends_within(20)

    logs = sorted((daemon.folder / "logs").iterdir())
    assert [log.read_text() for log in logs] == [f"{number}\n" for number in (7, 6, 5, 4, 3, 2)]
    for path in [*logs, daemon.folder / "run" / "sleeper.pid"]:
        assert path.stat().st_mode & 0o777 == 0o600
    for path in (daemon.folder, daemon.folder / "logs", daemon.folder / "run"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_command_waits_for_the_one_before_it(tmp_path):
    order = []

    def second():
        with processes.alone(tmp_path):
            order.append("second")

    with processes.alone(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.3)
        order.append("first")
    waiting.join(20)

    assert order == ["first", "second"]
