"""python -m cxr.orthanc as an engineer types it, with real servers on ports that are free."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import orthanc_servers
import pytest
import requests
from specimens import dicom

from cxr import pacs_schema
from cxr import root as data_root
from cxr.errors import ConfigError, PacsError
from cxr.infra import orthanc
from cxr.infra.orthanc import postgresql, processes, programs
from cxr.infra.orthanc.processes import Daemon

pytestmark = pytest.mark.orthanc


class Site:
    """A data root and free ports; the command told of both, and the room below it.

    The command itself takes a second to begin, so only tests of what it prints go through it.
    """

    def __init__(self, root, **changes):
        orthanc_servers.skip_without_orthanc()
        self.root, self.folder = root, root / "orthanc"
        self.section = orthanc_servers.section(self.folder, password=None, **changes)
        self.url, self.gateway = self.section.url, self.section.image_url

    def up(self, **changes):
        data_root.prepare(str(self.root))
        return orthanc.up(self._changed(changes), self.root)

    def status(self, **changes):
        return orthanc.status(self._changed(changes), self.root)

    def down(self):
        return orthanc.down(self.section)

    def command(self, verb, *more, **environment):
        settings = [f"pacs.url={self.url}", f"pacs.image_url={self.gateway}", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "cxr.orthanc", verb, *settings],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"CXR_ROOT": str(self.root)} | environment,
        )  # fmt: skip

    def run(self, verb, *more, **environment):
        process = self.command(verb, *more, **environment)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(verb, process.returncode, out, err)

    @property
    def keys(self):
        return data_root.token_keys(self.root)

    @property
    def password(self):
        return (self.root / "secrets" / "orthanc.password").read_text().strip()

    def pids(self):
        names = [path.stem for path in (self.folder / "run").glob("*.pid")]
        return {n: pid for n in names if (pid := Daemon(n, self.folder).pid())}

    def ask(self, path, method="GET", **given):
        return requests.request(
            method, f"{self.url}{path}", auth=("cxr", self.password), timeout=30, **given
        )

    def store(self, number):
        return self.ask("/instances", "POST", data=dicom(number)).json()["ID"]

    def _changed(self, changes):
        given = self.section.model_dump(by_alias=True) | changes
        return pacs_schema.OrthancPacs.model_validate(given)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Shared; a test that needs something running says `up`, which is quick where it does."""
    made = Site(tmp_path_factory.mktemp("site") / "root")
    yield made
    made.down()
    assert not made.pids()


@pytest.fixture
def own(tmp_path):
    made = []

    def site(**changes):
        made.append(Site(tmp_path / f"root{len(made)}", **changes))
        return made[-1]

    yield site
    for one in made:
        one.down()


def healthy(state):
    return {part.name: part.healthy for part in state.parts}


def test_the_command_says_where_everything_is_and_what_to_do_next(site):
    site.down()

    first = site.run("up")
    pids = site.pids()
    second = site.run("up")
    shown = site.run("status")
    rotated = site.run("rotate")

    assert first.stdout.splitlines() == [
        "started orthanc, gateway",
        f"admin page  {site.url}/app/explorer.html "
        f"(user cxr, password in {site.root}/secrets/orthanc.password)",
        f"DICOMweb    {site.url}/dicom-web",
        f"gateway     {site.gateway} (images, by signed links)",
        f"0 images in {site.folder}",
        "next: python -m cxr.ingest folder=… site=orthanc",
    ]
    assert second.stdout.startswith("all runs already, nothing was changed\n")
    assert site.pids() == pids
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[0] == ["part", "state", "pid", "version", "url"]
    assert [row[:3] for row in rows[1:3]] == [
        [name, "healthy", str(pids[name])] for name in ("orthanc", "gateway")
    ]
    assert shown.stdout.splitlines()[3].startswith(f"0 images, 0 MB, in {site.folder}; ")
    assert re.fullmatch(
        r"links are signed with key \w+; 2 keys open links\nthe gateway has the new key\n"
        r"next: restart a portal that runs, .*\n",
        rotated.stdout,
    )
    for said in (first, second, shown, rotated):
        assert said.returncode == 0
        assert site.password not in said.stdout + said.stderr


def test_the_command_stops_all_and_then_says_that_nothing_runs(site):
    site.up()

    first, second, shown = site.run("down"), site.run("down"), site.run("status")

    assert (first.stdout, first.returncode) == ("stopped gateway, orthanc\n", 0)
    assert (second.stdout, second.returncode) == (f"nothing runs in {site.folder}\n", 0)
    assert shown.returncode == 1
    assert re.search(r"^orthanc +stopped", shown.stdout, re.MULTILINE)
    assert shown.stdout.endswith("next: python -m cxr.orthanc up\n")
    assert not site.pids()


def test_two_commands_at_once_start_one_of_each(site):
    site.down()

    both = [site.command("up") for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0].splitlines()[0] for process in both)

    assert said == ["all runs already, nothing was changed", "started orthanc, gateway"]
    assert [process.returncode for process in both] == [0, 0]


def test_a_taken_port_is_one_line_that_names_the_key(own):
    here = own()

    with taken(here.url):
        said = here.run("up")

    assert said.returncode == 1
    assert re.fullmatch(
        r"pacs\.url: expected a free port, met \d+ \(.*\); choose another one\n", said.stderr
    )
    assert not here.pids()


def test_nothing_is_left_running_where_a_later_part_does_not_start(own):
    here = own()

    with taken(here.gateway), pytest.raises(ConfigError, match=r"pacs\.image_url: .*choose"):
        here.up()

    assert not here.pids()


def test_what_did_run_stays_where_another_part_does_not_start(site):
    site.down()
    site.up(image_url=None)
    before = site.pids()

    with taken(site.gateway), pytest.raises(ConfigError, match=r"pacs\.image_url: "):
        site.up()

    assert site.pids() == before


def test_the_password_is_on_no_command_line_and_files_are_the_owners_alone(site):
    site.up()

    lines = []
    for pid in site.pids().values():
        lines.append(Path(f"/proc/{pid}/cmdline").read_text())
        lines.append(Path(f"/proc/{pid}/environ").read_text(errors="replace"))
    logs = [path.read_text() for path in (site.folder / "logs").iterdir()]
    assert not any(site.password in text for text in [*lines, *logs])
    for path in [site.root, *site.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_changed_config_restarts_what_it_concerns(site):
    site.up()
    before = site.pids()

    assert site.up(allowed_origins=["https://reads.example.org"]) == ["gateway"]
    assert site.pids() == before
    assert site.up(user="somebody") == ["orthanc", "gateway"]

    assert site.pids()["orthanc"] != before["orthanc"]
    assert site.ask("/system").status_code == 401


def test_what_was_killed_is_seen_and_comes_back_with_its_images(site):
    site.up()
    stored = site.store(1)
    before = site.status()

    os.kill(site.pids()["orthanc"], signal.SIGKILL)

    between = site.status()
    assert healthy(between) == {"orthanc": False, "gateway": False}
    assert between.instances is None
    assert any("gets no answer from Orthanc" in line for line in between.warnings)
    assert site.up() == ["orthanc"]
    after = site.status()
    assert (after.instances, after.stored_bytes) == (before.instances, before.stored_bytes)
    assert after.healthy
    assert site.ask(f"/instances/{stored}/file").content == dicom(1)


def test_an_orthanc_that_says_nothing_is_replaced(site):
    site.up(timeout_s=2.0)
    before = site.pids()["orthanc"]

    os.kill(before, signal.SIGSTOP)

    assert site.up(timeout_s=2.0) == ["orthanc"]
    assert site.pids()["orthanc"] != before


def test_what_up_was_told_need_not_be_said_again(site):
    site.up()
    gateway = (site.folder / "gateway" / "nginx.conf").read_text()
    bare = {"CXR_ROOT": str(site.root), "CXR_PACS_PASSWORD": "guessed"}
    other = ["pacs.url=http://127.0.0.1:1", "pacs.image_url=http://127.0.0.1:2"]

    rotated = site.run("rotate", *other, **bare)

    assert (rotated.returncode, rotated.stderr) == (0, "")
    assert (site.folder / "gateway" / "nginx.conf").read_text() == gateway
    assert site.status(url="http://127.0.0.1:1", image_url=None).healthy
    noted = site.folder / "run" / "up.json"
    assert stat.S_IMODE(noted.stat().st_mode) == 0o600
    assert site.password not in noted.read_text()


def test_a_gateway_of_unknown_settings_keeps_its_keys(site):
    site.up()
    (site.folder / "run" / "up.json").unlink()
    before = site.keys

    with pytest.raises(
        ConfigError, match=r"cxr\.orthanc up with the pacs\.url and pacs\.image_url"
    ):
        orthanc.rotate(site.section, site.root)

    assert site.keys == before


def test_up_and_rotate_at_once_agree_on_the_keys(site):
    site.up()
    with processes.alone(site.folder):
        up = site.command("up")
        while "waiting for another" not in up.stderr.readline():
            assert up.poll() is None
        new = data_root.rotate_token_keys(site.root)

    assert up.wait(60) == 0
    up.communicate()
    assert site.keys == new
    assert site.status().healthy


def test_status_says_which_password_is_refused(site):
    site.up()

    shown = site.run("status", CXR_PACS_PASSWORD="guessed")

    assert shown.returncode == 1
    assert re.search(r"^orthanc +refuses \(401\)", shown.stdout, re.MULTILINE)
    assert "answers 401 to user cxr with the password of CXR_PACS_PASSWORD" in shown.stderr
    assert "next: give the password it was started with" in shown.stdout
    assert "guessed" not in shown.stdout + shown.stderr


def test_a_taken_dicom_port_leaves_what_runs_alone(site):
    site.up()
    before = site.pids()
    port = orthanc_servers.free_port()
    peers = [{"aet": "A", "address": "127.0.0.1", "port": 104}]

    with (
        taken(f"http://127.0.0.1:{port}"),
        pytest.raises(ConfigError, match=rf"pacs\.dimse_port: expected a free port, met {port}"),
    ):
        site.up(dimse=True, dimse_port=port, peers=peers)

    assert site.pids() == before


def test_an_older_orthanc_is_warned_of_with_what_protects_it(site):
    site.up()
    state = site.status()

    version = state.parts[0].version
    older = tuple(map(int, version.split("."))) < (1, 12, 11)
    assert any(f"Orthanc {version} is older than 1.12.11" in w for w in state.warnings) is older


REFUSED = [
    ({"url": "https://pacs.example.org"}, r"pacs\.url: expected http://127\.0\.0\.1:PORT"),
    ({"url": "http://127.0.0.1:8042/deep"}, r"pacs\.url: expected http://127\.0\.0\.1:PORT"),
    ({"url": "http://[::1]:8042"}, r"pacs\.url: expected an IPv4 address"),
    (
        {"dimse": True, "peers": [{"aet": "A", "address": "no-such.invalid", "port": 104}]},
        r"pacs\.peers: expected an address that can be resolved, met 'no-such\.invalid' of A",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_cannot_be_run_here_is_refused(own, changes, message):
    here = own()

    with pytest.raises(ConfigError, match=message):
        here.up(**changes)

    assert not here.pids()


def test_an_orthanc_from_elsewhere_takes_the_place_of_debians(site, tmp_path, monkeypatch):
    site.up()
    program = tmp_path / "Orthanc"
    program.symlink_to(programs.program("Orthanc"))
    monkeypatch.setenv("CXR_ORTHANC", str(tmp_path))

    assert site.up() == ["orthanc"]

    command = Path(f"/proc/{site.pids()['orthanc']}/cmdline").read_text()
    assert command.startswith(f"{program}\0")


def test_a_reason_from_the_log_reaches_the_user(own):
    here = own()
    (here.folder / "index").mkdir(parents=True)
    (here.folder / "index" / "index").write_text("no database at all, " * 100)

    with pytest.raises(PacsError, match=r"orthanc ended while it started: .*SQLite.*orthanc\.log"):
        here.up()

    assert not here.pids()


def test_the_folder_of_another_user_is_refused(own):
    here = own()
    here.folder.mkdir(parents=True)
    other = Path("/proc/1") if os.geteuid() else here.folder
    if other == here.folder:
        os.chown(here.folder, 65534, 65534)

    with pytest.raises(ConfigError, match=r"pacs\.folder: expected a folder of user \d+, who runs"):
        here.up(folder=str(other))


@pytest.mark.slow
def test_the_index_can_be_in_postgresql(own):
    here = own(index="postgresql")
    assert here.up() == ["postgresql", "orthanc", "gateway"]
    stored = here.store(1)
    before = here.pids()

    os.kill(before["postgresql"], signal.SIGKILL)
    assert healthy(here.status())["postgresql"] is False
    assert here.up() == ["postgresql", "orthanc"]

    assert here.pids()["gateway"] == before["gateway"]
    assert here.ask(f"/instances/{stored}/file").content == dicom(1)
    query = {"Level": "Patient", "Query": {"PatientID": "P*"}, "Expand": True}
    assert len(here.ask("/tools/find", "POST", json=query).json()) == 1
    home = here.folder / "postgresql"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {path.name for path in home.glob("[!.]*")} == {"data"}
    assert not listening(here.pids()["postgresql"])
    with pytest.raises(ConfigError, match=r"pacs\.index: expected postgresql, which .* is, met sq"):
        here.up(index="sqlite")
    assert here.down() == ["gateway", "orthanc", "postgresql"]


def test_an_index_in_sqlite_is_not_hidden_by_one_in_postgresql(site):
    site.up()

    with pytest.raises(ConfigError, match=r"pacs\.index: expected sqlite, which .*/index/index is"):
        site.up(index="postgresql")

    assert not postgresql.data(site.folder).exists()


def test_listed_senders_may_store_and_do_nothing_else(own, tmp_path):
    port = orthanc_servers.free_port()
    peers = [
        {"aet": "XRAY1", "address": "localhost", "port": 104},
        {"aet": "FAR", "address": "192.0.2.7", "port": 104},
    ]
    here = own(dimse=True, dimse_port=port, image_url=None, peers=peers)
    file = tmp_path / "1.dcm"
    file.write_bytes(dicom(1))
    tools = orthanc_servers.dcmtk("storescu", "findscu")

    def asked(tool, title, *last, called="CXR"):
        command = [tools[tool], "-v", "-aet", title, "-aec", called, "127.0.0.1", str(port), *last]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert here.up() == ["orthanc"]

    assert any(f"DICOM port {port} is open at every" in line for line in here.status().warnings)
    for title in ("OTHER", "FAR", "xray1"):
        assert "Calling AE Title Not Recognized" in asked("storescu", title, file).stderr
    assert "Called AE Title Not" in asked("storescu", "XRAY1", file, called="OTHER").stderr
    assert here.ask("/instances").json() == []
    assert asked("storescu", "XRAY1", file).returncode == 0
    [stored] = here.ask("/instances").json()
    patient = here.ask(f"/instances/{stored}/simplified-tags").json()["PatientID"]
    assert patient in dicom(1).decode("latin-1")
    searched = asked("findscu", "XRAY1", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID")
    assert patient not in searched.stdout + searched.stderr


def test_without_dimse_one_port_is_open_and_the_gateway_is_the_only_other(site):
    site.up()

    ports = [listening(pid) for pid in site.pids().values()]

    assert sorted(map(sorted, ports)) == sorted(
        [[int(url.rpartition(":")[2])] for url in (site.url, site.gateway)]
    )


@contextmanager
def taken(url):
    """Somebody else's server at the port of a URL."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(url.rpartition(":")[2])))
        other.listen()
        yield


def listening(pid):
    """The TCP ports that a process listens at, as the kernel has them."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes}
