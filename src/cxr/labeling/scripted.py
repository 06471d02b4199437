"""Readers that are programs: they know what was drawn, and err at set rates.

They answer over the portal's own HTTP interface, as a browser would; only the demo and the tests
have them. The same seed errs the same way, whatever the order of the images.
"""

import csv
import http.client
import json
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cxr.contract import annotation
from cxr.contract.annotation import Annotation
from cxr.contract.labels import LabelSet, State, follow_no_finding
from cxr.errors import JobError
from cxr.labeling import Job, Reader

_TIMEOUT_S = 30
Truth = Mapping[str, Mapping[str, State]]


def read_truth(path: Path, label_set: LabelSet) -> dict[str, dict[str, State]]:
    """Read what was drawn: `source` and a column per finding holding 1 or 0.

    Raises:
        JobError: There is no such file.
    """
    try:
        with path.open(newline="") as file:
            return {
                row["source"]: {
                    name: State.PRESENT if row[name] == "1" else State.ABSENT
                    for name in label_set.findings
                }
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError) as error:
        raise JobError(
            f"{path}: scripted readers answer synthetic images only, whose truth is not there "
            f"({error})"
        ) from error


def start(job: Job, links: Mapping[str, str], truth: Truth) -> list["Script"]:
    """Let every scripted reader of a job begin, each in a thread.

    Args:
        job: Whose readers with a `skill` are scripted.
        links: Reader ID → personal link.
        truth: Source → finding → what was drawn.
    """
    scripts = [Script(job, r, links[r.id], truth) for r in job.readers if r.skill is not None]
    for script in scripts:
        script.start()
    return scripts


class Script(threading.Thread):
    """One scripted reader at work.

    Attributes:
        error: What stopped it, or None.
    """

    def __init__(self, job: Job, reader: Reader, link: str, truth: Truth) -> None:
        super().__init__(name=f"reader {reader.id}", daemon=True)
        self._job, self._reader, self._truth = job, reader, truth
        self._address = urlsplit(link)
        self.error: Exception | None = None

    def run(self) -> None:
        """Sign in, then answer until nothing is left."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 the thread's outer edge; `label` shows it
            self.error = error

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._address.netloc, timeout=_TIMEOUT_S)
        path = f"{self._address.path}?{self._address.query}"
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        cookie = (response.getheader("Set-Cookie") or "").split(";")[0]
        headers = {"Cookie": cookie}
        first = _ask(connection, "GET", "/api/task", headers)
        headers |= {"X-CSRF": first["csrf"], "Content-Type": "application/json"}
        task = first["task"]
        while task is not None:
            form = {annotation.FIELD: json.dumps(self._answer(task["input"]))}
            task = _ask(connection, "POST", task["submitUrl"], headers, json.dumps(form))["task"]
        connection.close()

    def _answer(self, task_input: Mapping[str, Any]) -> dict[str, Any]:
        source = str(task_input["itemId"])
        if source not in self._truth:
            raise JobError(f"scripted readers answer synthetic images only, met {source}")
        said = answer(self._job.labels, self._truth[source], self._reader, source)
        return annotation.to_document(Annotation(said))


def answer(
    label_set: LabelSet, truth: Mapping[str, State], reader: Reader, source: str
) -> dict[str, State]:
    """Say what a scripted reader answers of one image: the truth, with errors at its rates."""
    skill = reader.skill or {}
    chance = random.Random(f"{skill['seed']}|{source}")
    said: dict[str, State] = {}
    for name in label_set.findings:
        present = truth[name] is State.PRESENT
        right = chance.random() < skill["sensitivity" if present else "specificity"]
        hedges = chance.random() < skill["uncertain"]
        seen = State.PRESENT if present == right else State.ABSENT
        said[name] = State.UNCERTAIN if hedges else seen
    for parent, children in label_set.parents.items():
        if any(said[child] is State.PRESENT for child in children):
            said[parent] = State.PRESENT
    if label_set.no_finding:
        said[label_set.no_finding] = follow_no_finding(label_set, said)
    return {name: said[name] for name in label_set.names}


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: str | None = None,
) -> dict[str, Any]:
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise JobError(f"the portal refused {method} {path}: {response.status} {content[:200]!r}")
    document: dict[str, Any] = json.loads(content)
    return document
