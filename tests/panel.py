"""A job with a panel of readers at a real portal, for tests that lead it or decide its disputes."""

import httpx
from specimens import LABELS, dicom, form

from cxr.contract import manifest
from cxr.contract.signing import Keys
from cxr.labeling import Job, Reader, selection
from cxr.labeling.local import LocalLabeling
from cxr.pacs.folder import FolderPacs

KEYS = Keys({"test": b"k" * 32})
TEAM = (
    Reader("ann1", name="Dr Ann Archer"),
    Reader("bob2"),
    Reader("cyd3", name="<b>Cyd</b>"),
    Reader("dan", name="Dr Dan Decider", roles=("adjudicator",)),
    Reader("eve", name="Dr Eve Lead", roles=("lead",)),
)


class Panel:
    """A portal being served, and what stands behind it."""

    def __init__(
        self, folder, *, images=3, team=TEAM, labels=LABELS, pacs=None, patient="P1", **changes
    ):
        reading = sum("reader" in reader.roles for reader in team)
        given = {"workers_per_object": reading, "consolidation": "adjudicated"} | changes
        self.job = Job("panel", folder / "jobs" / "panel", labels, team, **given)
        self.pacs = pacs or FolderPacs(folder / "pacs", keys=KEYS)
        for number in range(images):
            # studies of two images, and none of another patient's
            self.pacs.store(dicom(1000 * int(patient[1:]) + number, patient=patient))
        path = selection.from_query(
            self.job.folder, self.pacs, query={"PatientID": patient},
            views=["frontal"], label_set=labels,
        ).path  # fmt: skip
        self.sources = [manifest.source(line) for line in manifest.read(path)]
        self._number = {source: number for number, source in enumerate(self.sources)}
        self.backend = LocalLabeling(pacs=self.pacs, keys=KEYS, port=0)
        self.backend.start(self.job, path)
        self.links = self.backend.links(self.job)
        self.url = self.backend.status(self.job).url
        self.clients = {}

    def client(self, reader):
        """A browser, signed in by a reader's personal link; None is signed in nowhere."""
        if reader not in self.clients:
            # no TLS here, and loading the certificates takes longer than most tests
            client = httpx.Client(base_url=self.url, timeout=20, verify=False)
            self.clients[reader] = client
            if reader:
                assert client.get(self.links[reader]).status_code == 303
        return self.clients[reader]

    def read(self, reader, say):
        """Let a reader answer everything she is offered.

        `say` gives her answer on an image by its number in the manifest, -1 where its answer is
        known: letters, or a form.
        """
        client = self.client(reader)
        while (offer := client.get("/api/task").json())["task"]:
            said = say(self._number.get(offer["task"]["input"]["itemId"], -1))
            client.post(
                offer["task"]["submitUrl"],
                content=said if said.startswith("{") else form(said, self.job.labels),
                headers={"X-CSRF": offer["csrf"]},
            ).raise_for_status()

    def decide(self, reader, object_id, content, query="", **headers):
        """POST a decision with the token of that reader's own pages."""
        return self.client(reader).post(
            f"/disputes/{object_id}/decision{query}",
            content=content,
            headers={"X-CSRF": self.csrf(reader)} | headers,
        )

    def csrf(self, reader):
        """The token of a page that carries one."""
        roles = next(r.roles for r in self.job.readers if r.id == reader)
        address = "/task" if "reader" in roles else "/job" if "lead" in roles else "/adjudicate"
        text = self.client(reader).get(address).text
        return text.partition('name="cxr-csrf" content="')[2].partition('"')[0]

    def stop(self):
        for client in self.clients.values():
            client.close()
        self.backend.close()
