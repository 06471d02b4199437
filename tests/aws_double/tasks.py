"""What Ground Truth shows its workers, and what comes back: a browser's page, or a script's answer.

The page is rendered here anew, by python-liquid and Ground Truth's three filters, and shown as
Ground Truth shows it: in a sandboxed frame, whose origin is opaque.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import liquid
from liquid.exceptions import LiquidError
from markupsafe import Markup

from aws_double.account import Account, split
from aws_double.calls import RefusedError, body

Worker = Callable[[dict[str, Any], int], dict[str, Any] | None]
"""Task input and number of the worker (from 0) → fields of the form, or None: nobody answers."""
BELOW = "/_ground-truth/"
_CROWD = "https://assets.crowd.aws/crowd-html-elements.js"
_SHIM = BELOW + "crowd-html-elements.js"
_LONGEST = 128_000  # characters of a template
_READ_S = 3600
_CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Headers", "content-type, x-csrf"),
    ("Access-Control-Allow-Methods", "POST"),
]
_DONE = "<!doctype html><title>done</title><p id=done>Submitted</p>"


class TemplateError(Exception):
    """A template, or its input, from which no page can be made."""


@dataclass
class Task:
    """One data object, offered to one worker.

    Attributes:
        job: The job's name.
        object: Index of the manifest's line, as text.
        worker: Number of the worker, from 0.
        input: `taskInput` of the pre-annotation Lambda.
        template: What the page is made of.
        url: Of the page, for a browser.
        answer: The form's fields, once submitted.
        closed: Whether there will be no answer any more.
    """

    job: str
    object: str
    worker: int
    input: dict[str, Any]
    template: str
    url: str
    answer: dict[str, Any] | None = None
    closed: bool = False
    accepted: datetime = field(default_factory=lambda: datetime.now(UTC))
    submitted: datetime | None = None

    @property
    def waits(self) -> bool:
        """Whether it may still be answered."""
        return self.answer is None and not self.closed


class Answering:
    """The tasks of one job."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.tasks: list[Task] = []
        self._changed = threading.Condition()
        self._all_offered = self._over = False

    def offer(self, tasks: Sequence[Task]) -> None:
        """Add tasks, more of which follow until somebody waits for the answers."""
        with self._changed:
            self._all_offered = False
            for task in tasks:
                task.closed = self._over
            self.tasks += tasks
            self._changed.notify_all()

    def submit(self, task: Task, answer: dict[str, Any] | None) -> None:
        """Take an answer; None says that nobody gives one."""
        with self._changed:
            if not task.waits:
                raise RefusedError("Gone", "this task is no longer open", 410)
            task.answer, task.closed = answer, answer is None
            task.submitted = datetime.now(UTC)
            self._changed.notify_all()

    def wait(self, tasks: Iterable[Task], seconds: float) -> None:
        """Wait until none of the tasks waits, then withdraw those that still do."""
        tasks = list(tasks)
        with self._changed:
            self._all_offered = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not any(t.waits for t in tasks), timeout=seconds)
            for task in tasks:
                task.closed = task.closed or task.answer is None

    def close(self) -> None:
        """Withdraw all tasks, and those to come, as when their time is over."""
        with self._changed:
            self._over = True
            for task in self.tasks:
                task.closed = task.closed or task.answer is None
            self._changed.notify_all()

    def open(self, seconds: float) -> list[Task]:
        """Give the tasks that wait for a browser, once all of a batch are offered."""

        def ready() -> bool:
            return self._all_offered and any(task.waits for task in self.tasks)

        with self._changed:
            self._changed.wait_for(ready, timeout=seconds)
            return [task for task in self.tasks if task.waits]


def check_template(text: str) -> None:
    """Refuse a template that would not work in Ground Truth.

    Raises:
        RefusedError: ValidationException.
    """
    if len(text) > _LONGEST:
        told = f"uiTemplate: {len(text)} characters, at most {_LONGEST}"
    elif not re.search(r"<crowd-form\b", text) or _CROWD not in text:
        told = f"uiTemplate: expected <crowd-form> and {_CROWD}"
    elif re.search(r"""<script[^>]*type=["']?module""", text):
        told = "uiTemplate: module scripts do not run in a worker's page"
    elif re.search(r"{{-?\s*task\.input\s*-?}}", text):
        told = "uiTemplate: task.input needs a filter, such as to_json"
    else:
        try:
            liquid.Environment(autoescape=True).from_string(_without_filters(text))
        except LiquidError as error:
            told = f"uiTemplate: {error}"
        else:
            return
    raise RefusedError("ValidationException", told)


def _without_filters(text: str) -> str:
    return re.sub(r"\|\s*(to_json|grant_read_access|skip_autoescape)", "", text)


def render(account: Account, template: str, task_input: Mapping[str, Any]) -> str:
    """Render a template as Ground Truth does.

    Raises:
        TemplateError: It cannot be.
    """
    environment = liquid.Environment(autoescape=True)

    def granted(uri: object) -> str:
        text = str(uri)
        if not text.startswith("s3://"):
            raise TemplateError(f"grant_read_access: expected an s3:// URI, met {text!r}")
        bucket, key = split(text)
        signed = account.s3.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_READ_S
        )
        return str(signed)

    environment.filters |= {
        "to_json": lambda value: json.dumps(value, ensure_ascii=False),
        "grant_read_access": granted,
        "skip_autoescape": Markup,
    }
    try:
        made = environment.from_string(template).render(task={"input": dict(task_input)})
    except LiquidError as error:
        raise TemplateError(str(error)) from error
    return str(made)


class Pages:
    """Tasks over HTTP, below `/_ground-truth/` of the double's server.

    Attributes:
        jobs: Name → its tasks.
    """

    def __init__(self, account: Account, shim: Path) -> None:
        self.jobs: dict[str, Answering] = {}
        self._account, self._shim = account, shim

    def task(self, job: str, number: int, worker: int, given: dict[str, Any], text: str) -> Task:
        """Make a task with its address."""
        url = f"{self._account.endpoint}{BELOW}{job}/{number}/{worker}"
        return Task(job, str(number), worker, given, text, url)

    def answer(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        """Serve one request of a browser: status, headers, body."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == _SHIM:
            return "200 OK", [("Content-Type", "text/javascript")], self._shim.read_bytes()
        if path == BELOW + "done":
            return _html(_DONE)
        try:
            job, number, worker, *rest = path.removeprefix(BELOW).split("/")
            task = next(
                t for t in self.jobs[job].tasks if (t.object, str(t.worker)) == (number, worker)
            )
        except (ValueError, KeyError, StopIteration):
            return "404 Not Found", [("Content-Type", "text/plain")], b"no such task"
        if method == "OPTIONS":
            return "204 No Content", _CORS, b""
        if rest == ["answer"] and method == "POST":
            return self._submitted(task, body(environ))
        return _html(self._frame(task) if rest == ["frame"] else _outer(task))

    def _submitted(self, task: Task, content: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        kind = [("Content-Type", "application/json"), *_CORS]
        try:
            self.jobs[task.job].submit(task, json.loads(content))
        except RefusedError as error:
            return "410 Gone", kind, json.dumps({"error": str(error)}).encode()
        return "200 OK", kind, json.dumps({"next": BELOW + "done"}).encode()

    def _frame(self, task: Task) -> str:
        content = render(self._account, task.template, task.input).replace(_CROWD, _SHIM)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>task</title>\n'
            f'<meta name="cxr-submit-url" content="{escape(task.url)}/answer">\n'
            f'<meta name="cxr-csrf" content="none">\n</head><body>\n{content}\n</body></html>\n'
        )


def _outer(task: Task) -> str:
    """The worker portal's own page around a task."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{task.job}</title>'
        "<style>html, body, iframe { margin: 0; border: 0; width: 100%; height: 100%; }</style>"
        f'</head><body><iframe name="task" sandbox="allow-scripts allow-forms" '
        f'src="{escape(task.url)}/frame"></iframe></body></html>\n'
    )


def _html(text: str) -> tuple[str, list[tuple[str, str]], bytes]:
    return "200 OK", [("Content-Type", "text/html; charset=utf-8")], text.encode()


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something that tells nobody when it happens."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
