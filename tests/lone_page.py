"""A worker page without a portal: the real template, shim and viewer, on any `taskInput`."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Browser, Page

from cxr import places
from cxr.images import synth
from cxr.labeling import page

CSP = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; worker-src blob:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types cxr-decoder"
)
LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "Pleural Effusion", "Pneumonia", "Pneumothorax",
    "Pleural Other", "Support Devices", "No Finding",
)  # fmt: skip


@dataclass
class Lone:
    """One page on a server of its own.

    Attributes:
        url: Of the page.
        files: Path → bytes, served as they are; images are /image/<n> (synthetic).
        answers: Documents submitted, in order.
        met: Requests outside the page's origin, errors, and breaches of the policy.
    """

    url: str
    files: dict[str, bytes]
    answers: list[dict[str, Any]] = field(default_factory=list)
    met: list[str] = field(default_factory=list)

    def open(self, browser: Browser, width: int = 1280, height: int = 720) -> Page:
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.on("pageerror", lambda error: self.met.append(f"error: {error}"))
        opened.on("request", lambda request: self._request(request.url))
        opened.on("console", lambda message: self._console(message.text))
        opened.goto(self.url)
        opened.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)
        return opened

    def submit(self, opened: Page) -> dict[str, Any]:
        opened.keyboard.press("Control+Enter")
        opened.locator("#done").wait_for(timeout=10_000)
        return self.answers[-1]

    def _request(self, url: str) -> None:
        origin = self.url.removesuffix("/task")
        if not url.startswith((origin, f"blob:{origin}", "data:")):
            self.met.append(url)

    def _console(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.met.append(text)


def task_input(**changes: object) -> dict[str, Any]:
    """What the pre-annotation Lambda gives, for the first synthetic image."""
    given: dict[str, Any] = {
        "imageUrl": "/image/0",
        "source": "11111111-22222222-33333333-44444444-55555555",
        "jobId": "panel",
        "itemId": "11111111-22222222-33333333-44444444-55555555",
        "labels": list(LABELS),
        "noFinding": "No Finding",
        "compatible": ["Support Devices"],
        "parents": {"Lung Opacity": ["Atelectasis", "Consolidation", "Edema", "Pneumonia"]},
        "instructions": "",
        "viewerSrc": f"/assets/{page.viewer().name}",
        "templateSha": "",
        "viewerSha": "",
    }
    return given | changes


@contextmanager
def serving(task: Mapping[str, Any], size: tuple[int, int] = (512, 448)) -> Iterator[Lone]:
    """Serve one task's page until the block ends."""
    shim = places.shipped("templates") / "portal" / "crowd-shim.js"
    files = {
        f"/assets/{page.viewer().name}": page.viewer().read_bytes(),
        "/assets/crowd-shim.js": shim.read_bytes(),
        "/done": b"<!doctype html><title>done</title><p id=done>Done</p>",
    }
    body = page.document(page.render(task), title="panel", submit_url="/answer", csrf="x")
    files["/task"] = body.encode()
    lone = Lone("", files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/image/") and path not in files:
                number = path.removeprefix("/image/")
                if number.isdigit():
                    files[path] = synth.draw(int(number), seed=3, size=size)[0]
            self._reply(files.get(path))

        def do_POST(self) -> None:
            form = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            lone.answers.append(json.loads(form["annotation"]))
            self._reply(b'{"next": "/done"}')

        def _reply(self, content: bytes | None) -> None:
            ends = {".js": "text/javascript", ".png": "image/png"}
            kind = next((k for end, k in ends.items() if self.path.endswith(end)), "text/html")
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", CSP)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    lone.url = f"http://127.0.0.1:{server.server_address[1]}/task"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield lone
    finally:
        server.shutdown()
        server.server_close()
