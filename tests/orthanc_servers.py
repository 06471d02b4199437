"""Real Orthancs for tests, started as the command starts them, on ports that are free."""

import contextlib
import secrets
import shutil
import signal
import socket
from pathlib import Path

import pytest

from cxr import pacs_schema
from cxr.infra.orthanc import server

PASSWORD = "a-password-for-tests"
PLUGINS = Path("/usr/share/orthanc/plugins")
NEEDS = "apt-get install orthanc orthanc-dicomweb orthanc-gdcm nginx-light libnginx-mod-http-js"


def free_port():
    """A port that nobody has now, and that the system gives nobody as an end of a connection.

    A server that is killed may want it again later.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def skip_without_orthanc():
    path = "/usr/sbin:/usr/local/sbin:/usr/bin:/bin"
    if not shutil.which("Orthanc", path=path) or not (PLUGINS / server.PLUGINS[0]).exists():
        pytest.skip(f"no Orthanc: {NEEDS}")


def dcmtk(*names):
    """Where dcmtk's tools are, by name."""
    found = {name: shutil.which(name) for name in names}
    if None in found.values():
        pytest.skip("no dcmtk: apt-get install dcmtk")
    return found


def section(folder, **changes):
    """The section `pacs` of an Orthanc in a folder, on free ports, without any of TLS and DIMSE."""
    given = {
        "_target_": "cxr.pacs.orthanc.OrthancPacs",
        "url": f"http://127.0.0.1:{free_port()}",
        "image_url": f"http://127.0.0.1:{free_port()}",
        "user": "cxr", "password": PASSWORD, "timeout_s": 30.0, "threads": 4,
        "folder": str(folder), "index": "sqlite", "aet": "CXR", "dimse": False,
        "dimse_port": 4242, "peers": [], "verifier": "njs", "allowed_origins": [],
    }  # fmt: skip
    return pacs_schema.OrthancPacs.model_validate(given | changes)


class Server:
    """An Orthanc that runs, with everything that a client needs.

    Attributes:
        section: The config section that describes it.
        url: Its base, such as http://127.0.0.1:40123; DICOMweb is below /dicom-web.
        user: Of the API.
        password: Of the user.
        folder: Its images, index, config and logs.
        version: As it says itself.
    """

    def __init__(self, folder, **changes):
        self.section = section(folder, **changes)
        self.folder, self.url = Path(folder), self.section.url
        self.user, self.password = self.section.user, self.section.password
        self.api = server.connection(self.section, self.password)
        self.start()
        self.version = self.api.get("/system")["Version"]

    @property
    def pid(self):
        return server.daemon(self.folder).pid()

    @property
    def auth(self):
        return self.user, self.password

    def start(self):
        server.start(self.section, self.folder, password=self.password)

    def stop(self):
        server.stop(self.folder)

    def restart(self):
        self.stop()
        self.start()

    def kill(self):
        """End it as a power cut would; gone when this returns."""
        server.daemon(self.folder).stop(by=signal.SIGKILL)

    def pause(self):
        """Keep its port open and say nothing, until `resume`."""
        server.daemon(self.folder).tell(signal.SIGSTOP)

    def resume(self):
        server.daemon(self.folder).tell(signal.SIGCONT)
