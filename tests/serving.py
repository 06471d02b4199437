"""A portal in a process of its own, and readers who never give up: for tests that kill it.

As a script it serves a job of images that no PACS holds: `serving.py <folder> <port> <readers>
<images> <answers each>`, and prints the readers' links as JSON.
"""

import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from specimens import LABELS, form

from cxr.contract import labels, manifest, signing
from cxr.labeling import Job, Reader
from cxr.labeling.local import LocalLabeling
from cxr.pacs.folder import FolderPacs

KEYS = signing.Keys({"test": b"k" * 32})


def begin(folder, port, readers, images, wanted, **changes):
    """Serve the job, and give it with what serves it."""
    people = tuple(Reader(f"r{i}") for i in range(readers))
    job = Job("load", folder / "job", LABELS, people, wanted, **changes)
    asked = labels.to_data_object(LABELS)
    sources = (f"{i:08x}-0-0-0-0".replace("-0", "-" + "0" * 8) for i in range(images))
    manifest.write(job.input_manifest, ({"source": source} | asked for source in sources))
    backend = LocalLabeling(pacs=FolderPacs(folder / "pacs", keys=KEYS), keys=KEYS, port=port)
    backend.start(job, job.input_manifest)
    return job, backend


class Served:
    """The portal as a process, which can be killed and started again on the same port."""

    def __init__(self, folder, port, *job):
        command = [sys.executable, __file__, str(folder), str(port), *map(str, job)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.links = json.loads(self.process.stdout.readline())

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


class Client(threading.Thread):
    """A reader who answers until nothing is left, whatever becomes of the portal meanwhile.

    Attributes:
        accepted: Task ID → content of every answer that the portal accepted.
        meant: Task ID → content of every answer that was sent.
        error: What stopped it, or None.
    """

    def __init__(self, link, seed, *, ahead=0.5, stop=None):
        super().__init__(daemon=True)
        self.address, self.link = urlsplit(link).netloc, link
        self.chance, self.ahead = random.Random(seed), ahead
        self.stop = stop or threading.Event()
        self.accepted, self.meant, self.error = {}, {}, None
        self.connection = None
        self.headers = {}

    def run(self):
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 the thread's outer edge
            self.error = error
        finally:
            if self.connection:
                self.connection.close()

    def _work(self):
        offer = self._begin()
        while offer and not self.stop.is_set():
            if self.chance.random() < self.ahead:
                self._ask("GET", "/api/ahead")
            offer = self._answer(offer)

    def _begin(self):
        if "Cookie" not in self.headers:
            address = urlsplit(self.link)
            response, _ = self._send("GET", f"{address.path}?{address.query}")
            self.headers["Cookie"] = (response.getheader("Set-Cookie") or "").split(";")[0]
        said = self._ask("GET", "/api/task")
        self.headers["X-CSRF"] = said["csrf"]
        return said["task"]

    def _answer(self, task):
        """Send an answer until the portal says that it has it, as a page's reader would."""
        content = self.meant.setdefault(
            task["id"], form("aaap", comment=self.chance.random().hex())
        )
        while True:
            response, body = self._send("POST", task["submitUrl"], content)
            if response.status == 403:  # the portal was started again: a page is reloaded
                self._begin()
                continue
            assert response.status == 200, (response.status, body)
            self.accepted[task["id"]] = content
            return json.loads(body)["task"]

    def _ask(self, method, path):
        response, body = self._send(method, path)
        assert response.status == 200, (response.status, body)
        return json.loads(body)

    def _send(self, method, path, body=None):
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(self.address, timeout=30)
                self.connection.request(method, path, body, self.headers)
                response = self.connection.getresponse()
                return response, response.read()
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.connection = None
                if self.stop.is_set() or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def main():
    folder, port, readers, images, wanted = sys.argv[1:]
    job, backend = begin(Path(folder), int(port), int(readers), int(images), int(wanted))
    sys.stdout.write(json.dumps(backend.links(job)) + "\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
