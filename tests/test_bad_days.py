"""Bad days as the user meets them: one sentence that names what to change, and nothing is lost.

What a client says of each way in which a server can fail is in test_pacs_bad_days.py; here whole
ingests and copies meet them midway, and the same command again does the rest.
"""

import os
import socket
import subprocess
import threading
import time

import pytest
from ingest_command import (
    count,
    fine,
    here,
    problem,
    radiographs,
    refused,
    run,
    started,
    to,
    wait_until,
)  # fmt: skip
from orthanc_servers import Server

from cxr.contract import signing
from cxr.errors import ConfigError
from cxr.infra import http
from cxr.pacs import server as ours
from cxr.pacs.folder import FolderPacs

KEYS = signing.Keys({"test": b"k" * 32})
IMPATIENT = "pacs.timeout_s=2"
pytestmark = pytest.mark.slow


@pytest.fixture
def orthanc_here(own_orthanc, monkeypatch):
    """An empty Orthanc, whose password the command finds."""
    monkeypatch.setenv("CXR_PACS_PASSWORD", own_orthanc.password)
    monkeypatch.setenv("CXR_FROM_PACS_PASSWORD", own_orthanc.password)
    return own_orthanc


@pytest.fixture
def disk(tmp_path):
    """Makes small disks: a folder that holds so many kilobytes, and can be made larger."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = []

    def mount(name, kilobytes):
        place = tmp_path / name
        again = ["-o", f"remount,size={kilobytes}k"] if place in mounted else []
        place.mkdir(exist_ok=True)
        first = ["-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700", "tmpfs"]
        subprocess.run(["mount", *(again or first), str(place)], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in set(mounted):
        subprocess.run(["umount", "-l", str(place)], check=True)


def start_again(server):
    """Start it on its old port, which a client that asks in vain may hold for a moment."""
    for _ in range(100):
        try:
            return server.start()
        except ConfigError:
            time.sleep(0.1)
    return server.start()


class Served:
    """A folder PACS of ours over DICOMweb, in front of which something may go wrong."""

    def __init__(self, folder, between=None):
        self.pacs = FolderPacs(folder)
        app = ours.app(self.pacs, KEYS)
        listener = http.bind("127.0.0.1", 0, key="port")
        self.url = f"{listener.url}/dicom-web"
        self._background = http.Background(between(app) if between else app, listener)

    def asked(self, key="pacs"):
        return [f"{key}=dicomweb", f"{key}.url={self.url}", f"{key}.auth=bearer"]

    def close(self):
        self._background.stop()
        self.pacs.close()


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_PACS_TOKEN", token())
    made = []

    def serve(between=None):
        made.append(Served(tmp_path / f"served{len(made)}", between))
        return made[-1]

    yield serve
    for each in made:
        each.close()


def token(**when):
    return signing.sign(KEYS, ["p:/dicom-web", "store"], ttl_s=3600, **when)


def test_an_orthanc_that_restarts_midway_is_waited_for(tmp_path, orthanc_here):
    place = radiographs(tmp_path / "in", 120)
    process = started(tmp_path / "root", f"folder={place}", *to(orthanc_here), "ingest.batch=5")
    assert wait_until(lambda: count(orthanc_here) >= 10, process)

    orthanc_here.kill()
    start_again(orthanc_here)

    process.stdout, process.stderr = process.communicate(timeout=120)
    assert "120 stored" in fine(process)[0] or "there already, 0 refused" in fine(process)[0]
    assert count(orthanc_here) == 120


def test_an_orthanc_killed_midway_loses_and_doubles_nothing(tmp_path, orthanc_here):
    place = radiographs(tmp_path / "in", 120)
    asked = [f"folder={place}", *to(orthanc_here), "ingest.batch=5", IMPATIENT]
    process = started(tmp_path / "root", *asked)
    assert wait_until(lambda: count(orthanc_here) >= 10, process)

    orthanc_here.kill()
    process.stdout, process.stderr = process.communicate(timeout=120)
    start_again(orthanc_here)

    said = refused(process)
    assert said.startswith(f"{orthanc_here.url} cannot be reached (connection refused); is it ")
    assert "pacs.url right?" in said
    here(tmp_path / "root", *asked)
    assert count(orthanc_here) == 120


def test_a_copy_goes_on_after_its_source_restarted(tmp_path, orthanc_here):
    place = radiographs(tmp_path / "in", 40, size=(512, 512))
    here(tmp_path / "one", f"folder={place}", *to(orthanc_here))
    asked = [*to(orthanc_here, "from_pacs"), f"to={tmp_path / 'out'}", "from_pacs.timeout_s=2"]
    process = started(tmp_path / "root", *asked)
    assert wait_until(lambda: len(list((tmp_path / "out").glob("*/*.dcm"))) > 3, process)

    orthanc_here.kill()
    early = len(list((tmp_path / "out").glob("*/*.dcm")))
    process.stdout, process.stderr = process.communicate(timeout=120)
    start_again(orthanc_here)
    here(tmp_path / "root", *asked)

    assert "from_pacs.url right?" in refused(process)
    assert 3 < early < 40
    copies = sorted(path.read_bytes() for path in (tmp_path / "out").glob("*/*"))
    assert copies == sorted(path.read_bytes() for path in place.iterdir())


def test_a_full_disk_under_the_folder_pacs(tmp_path, disk):
    place = radiographs(tmp_path / "in", 60)
    small = disk("pacs", 450)
    asked = [f"folder={place}", f"pacs.folder={small}"]

    said = problem(tmp_path / "root", *asked)
    disk("pacs", 4000)
    here(tmp_path / "root", *asked)

    assert said.startswith(f"{small}")
    assert "No space left on device" in said or "full" in said
    assert "pacs.folder" in said
    with FolderPacs(small) as pacs:
        assert pacs.count() == 60
        assert all(pacs.retrieve(found) for found in pacs.search())
        assert not list((small / "incoming").iterdir())


def test_a_full_disk_under_the_data_root(tmp_path, disk, orthanc_here):
    place = radiographs(tmp_path / "in", 24, size=(256, 256))
    here(tmp_path / "one", f"folder={place}", *to(orthanc_here))
    small = disk("root", 500)
    asked = [*to(orthanc_here, "from_pacs"), f"pacs.folder={tmp_path / 'pacs'}"]

    said = problem(small, *asked)
    disk("root", 20_000)
    here(small, *asked)

    assert "CXR_ROOT" in said
    with FolderPacs(tmp_path / "pacs") as pacs:
        assert pacs.count() == 24


def test_a_full_disk_under_a_copy(tmp_path, disk, orthanc_here):
    place = radiographs(tmp_path / "in", 24, size=(256, 256))
    here(tmp_path / "one", f"folder={place}", *to(orthanc_here))
    small = disk("out", 700)
    asked = [*to(orthanc_here, "from_pacs"), f"to={small}"]

    said = problem(tmp_path / "root", *asked)
    disk("out", 20_000)
    here(tmp_path / "root", *asked)

    assert said.endswith("free some space, or set to to another folder")
    copies = sorted(path.read_bytes() for path in small.glob("*/*"))
    assert copies == sorted(path.read_bytes() for path in place.iterdir())


def test_a_full_disk_under_orthanc(tmp_path, disk, monkeypatch):
    place = radiographs(tmp_path / "in", 40, size=(512, 512))
    small = disk("small", 6_000)
    there = Server(small / "orthanc")
    monkeypatch.setenv("CXR_PACS_PASSWORD", there.password)
    asked = [f"folder={place}", *to(there), IMPATIENT]
    try:
        said = problem(tmp_path / "root", *asked)
        disk("small", 200_000)
        there.restart()
        here(tmp_path / "root", *asked)

        assert there.url in said
        assert count(there) == 40
    finally:
        there.stop()


@pytest.mark.parametrize("trickle", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n["])
def test_nothing_waits_for_a_server_beyond_its_limit(tmp_path, trickle, monkeypatch):
    monkeypatch.setenv("CXR_FROM_PACS_PASSWORD", "x")
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def keep_waiting():
        while not over.is_set():
            try:
                talk, _ = listener.accept()
            except OSError:
                return
            talk.sendall(trickle)
            while not over.wait(0.2):
                try:
                    talk.sendall(trickle[-1:])
                except OSError:
                    break

    threading.Thread(target=keep_waiting, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    begun = time.monotonic()

    said = problem(tmp_path, "from_pacs=orthanc", f"from_pacs.url={url}", "from_pacs.timeout_s=1")

    over.set()
    listener.close()
    assert said.startswith(f"{url} did not answer POST /tools/find within 1 s; raise from_pacs.tim")
    assert time.monotonic() - begun < 30


def test_a_wrong_password_names_its_variable_and_the_right_one_goes_on(tmp_path, orthanc_here):
    place = radiographs(tmp_path / "in", 3)
    asked = [f"folder={place}", *to(orthanc_here)]

    said = refused(run(tmp_path, *asked, CXR_PACS_PASSWORD="guessed"))
    here(tmp_path, *asked)

    assert said.endswith("401; set CXR_PACS_USER and CXR_PACS_PASSWORD")
    assert "guessed" not in said
    assert count(orthanc_here) == 3


class Storm:
    """Answers 503 to most requests, as long as it lasts."""

    def __init__(self, app, passes=2):
        self.app, self.seen, self.passes, self.lasts = app, 0, passes, True

    async def __call__(self, scope, receive, send):
        self.seen += 1
        if (
            scope["type"] != "http"
            or not self.lasts
            or (self.passes and not self.seen % self.passes)
        ):
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"busy"})


def test_a_storm_of_errors_that_passes_stops_nothing(tmp_path, served):
    place = radiographs(tmp_path / "in", 30)
    there = served(Storm)

    here(tmp_path / "root", f"folder={place}", *there.asked(), "ingest.batch=5")

    assert there.pacs.count() == 30


def test_a_storm_of_errors_that_stays_ends_it_until_the_next_time(tmp_path, served):
    place = radiographs(tmp_path / "in", 30)
    storms = []

    def between(app):
        storms.append(Storm(app, passes=0))
        return storms[-1]

    there = served(between)
    asked = [f"folder={place}", *there.asked(), "pacs.timeout_s=1"]

    said = problem(tmp_path / "root", *asked)
    storms[0].lasts = False
    here(tmp_path / "root", *asked)

    assert said.startswith(f"{there.url} answered ")
    assert "503" in said
    assert there.pacs.count() == 30


@pytest.mark.parametrize("skew_s", [-7200, 7200], ids=["expired", "not yet"])
def test_a_clock_that_is_wrong_is_named(tmp_path, served, skew_s, monkeypatch):
    place = radiographs(tmp_path / "in", 2)
    there = served()
    asked = [f"folder={place}", *there.asked()]
    monkeypatch.setenv("CXR_PACS_TOKEN", token(now=time.time() + skew_s))

    said = problem(tmp_path / "root", *asked)
    monkeypatch.setenv("CXR_PACS_TOKEN", token())
    here(tmp_path / "root", *asked)

    assert "401; set CXR_PACS_TOKEN" in said
    assert said.endswith("the token is expired or not valid yet, or this machine's clock is wrong")
    assert there.pacs.count() == 2
