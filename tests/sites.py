"""A portal being served, for tests of its routes over real HTTP."""

import threading

import httpx
from specimens import LABELS, dicom, form

from cxr.contract import manifest, signing
from cxr.infra import http
from cxr.labeling import Job, Page, Reader, portal, selection
from cxr.labeling.answers import Answers
from cxr.labeling.portal import access
from cxr.pacs.folder import FolderPacs

KEYS = signing.Keys({"test": b"k" * 32})


def let_go(stop):
    """Stop what a test was the last to use; a server takes a fifth of a second, for nothing."""
    threading.Thread(target=stop, daemon=True).start()


def filled(folder):
    """A PACS of three images."""
    store = FolderPacs(folder, keys=KEYS)
    for number in (1, 2, 3):
        store.store(dicom(number))
    return store


class Site:
    """A portal being served, and what stands behind it."""

    def __init__(self, folder, pacs, *readers, **changes):
        people = tuple(r if isinstance(r, Reader) else Reader(r) for r in readers)
        given = {"workers_per_object": len(people), "page": Page("<b>look</b>")} | changes
        self.job = Job("demo", folder, LABELS, people, **given)
        self.pacs = pacs
        path = selection.from_query(
            folder, pacs, query={}, views=["frontal"], label_set=LABELS
        ).path
        self.answers = Answers(
            folder / "answers.db",
            workers_per_object=self.job.workers_per_object,
            task_time_limit_s=self.job.task_time_limit_s,
            readers=[reader.id for reader in self.job.answering],
            known_share=self.job.checks.known_share,
            repeat_share=self.job.checks.repeat_share,
        )
        self.answers.add(manifest.read(path))
        listener = http.bind("127.0.0.1", 0, key="port")
        self.url = listener.url
        app = portal.app(self.job, self.answers, pacs, KEYS, url=self.url)
        self.served = http.Background(app, listener)
        self.clients = []

    def client(self, reader=None, **options):
        """A browser, signed in by a reader's personal link."""
        # no TLS here, and loading the certificates takes longer than most tests
        client = httpx.Client(base_url=self.url, timeout=10, verify=False, **options)
        self.clients.append(client)
        if reader:
            response = client.get(access.link(self.job, KEYS, self.url, reader))
            assert (response.status_code, response.headers["location"]) == (303, "/task")
        return client

    def stop(self):
        for client in self.clients:
            client.close()
        self.served.stop()
        self.answers.close()


def submit(client, offer, body=None, **headers):
    sent = {"X-CSRF": offer["csrf"]} | headers
    return client.post(offer["task"]["submitUrl"], content=body or form("aaap"), headers=sent)


def refusal(response):
    """The one line that every refusal is."""
    assert list(response.json()) == ["error"]
    assert "\n" not in response.json()["error"]
    return response.status_code, response.json()["error"]
