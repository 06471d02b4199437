"""The worker page over several images: nothing lost between them, or when it is closed."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sites import let_go
from test_browser import (
    COLUMNS,
    LABELS,
    ROWS,
    Portal,
    drag,
    near,
    opened,
    ready,
    serve,
    submit,
)

from cxr.images import synth
from cxr.labeling import page as rendering

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROW = '[data-label="{}"]'


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Portal]:
    served = serve(tmp_path, images=2)
    yield served
    let_go(served.backend.close)


def answers(portal: Portal) -> list[dict[str, Any]]:
    """The documents submitted, as the output manifest keeps them."""
    workers = [w for found in portal.output() for w in found.document["annotationsFromAllWorkers"]]
    contents = [json.loads(worker["annotationData"]["content"]) for worker in workers]
    return [json.loads(content["annotation"]) for content in contents]


def item(page: Page) -> str:
    return str(page.evaluate("() => document.documentElement.dataset.cxrItem"))


def next_item(page: Page, before: str) -> str:
    page.wait_for_selector(f'html[data-cxr-ready="1"]:not([data-cxr-item="{before}"])')
    return item(page)


def state(page: Page, label: str) -> str | None:
    return page.locator(ROW.format(label)).get_attribute("data-answer")


def said(page: Page) -> str:
    return page.locator(".cxr-quiet").inner_text()


def kept_draft(page: Page) -> None:
    with page.expect_response(lambda r: r.request.method == "PUT" and r.status == 204):
        page.evaluate("() => window.dispatchEvent(new Event('blur'))")


def test_next_image_is_fetched_while_reading_and_takes_its_place(
    browser: Browser, two: Portal
) -> None:
    page = opened(browser, two)
    first = item(page)
    page.wait_for_function("() => performance.getEntriesByName('cxr-ahead').length === 1")
    page.evaluate("() => { window.samePage = true; }")
    fetched = len([url for url in two.met if "/pacs/" in url])
    page.keyboard.press("p")
    page.keyboard.press("Shift+A")
    assert "1 of 2" in page.locator(".cxr-header").inner_text()
    page.keyboard.press("Control+Enter")
    second = next_item(page, first)

    assert fetched == 2
    assert len([url for url in two.met if "/pacs/" in url]) == 2
    assert page.evaluate("() => window.samePage") is True
    assert {state(page, label) for label in ("Edema", "No Finding")} == {"unanswered"}
    assert "2 of 2" in page.locator(".cxr-header").inner_text()
    assert page.url.endswith("/task")
    page.keyboard.press("n")
    submit(page)
    page.close()
    found = {document["task"]["itemId"]: document for document in answers(two)}
    assert set(found) == {first, second}
    assert found[first]["timing"]["startedAt"] < found[second]["timing"]["startedAt"]
    assert [m for m in two.met if m.startswith("error")] == []


def test_files_are_decoded_off_the_main_thread(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    assert len(page.workers) == 1
    page.close()


def test_dense_screen_shows_the_image_as_large_as_the_stage(browser: Browser, two: Portal) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720}, device_scale_factor=2)
    page.goto(two.url)
    ready(page)
    stage = page.locator(".cxr-stage").bounding_box()
    canvas = page.locator(".cxr-stage canvas")
    assert stage == canvas.bounding_box()
    assert stage is not None
    assert canvas.evaluate("canvas => canvas.width") == pytest.approx(2 * stage["width"], abs=1)
    page.close()


def test_draft_comes_back_with_its_regions(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    page.locator(f"{ROW.format('Edema')} .cxr-name").click()
    page.keyboard.press("b")
    rectangle = drag(page, (100, 150), (180, 260))
    page.keyboard.press("e")
    drag(page, (250, 300), (330, 340))
    page.locator(f"{ROW.format('Pneumothorax')} [data-state='uncertain']").click()
    page.locator(".cxr-comment").fill("seen twice")
    kept_draft(page)
    page.reload()
    ready(page)

    assert "Restored" in said(page)
    assert page.locator("[data-roi][data-type]").count() >= 2
    assert (state(page, "Edema"), state(page, "Pneumothorax")) == ("present", "uncertain")
    assert page.locator(".cxr-comment").input_value() == "seen twice"
    page.keyboard.press("Shift+A")
    first = item(page)
    page.keyboard.press("Control+Enter")
    next_item(page, first)
    page.close()
    (found,) = answers(two)
    rois = {roi["type"]: roi for roi in found["rois"]}
    assert set(rois) == {"rectangle", "ellipse"}
    assert near(sorted(rois["rectangle"]["points"]), rectangle)


def test_time_goes_on_in_a_page_that_is_loaded_anew(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    page.wait_for_timeout(1200)
    page.keyboard.press("p")
    kept_draft(page)
    reloaded = datetime.now(UTC)
    page.reload()
    ready(page)
    first = item(page)
    page.keyboard.press("Shift+A")
    page.keyboard.press("Control+Enter")
    next_item(page, first)
    page.close()

    (document,) = answers(two)
    timing = document["timing"]
    assert datetime.fromisoformat(timing["startedAt"]) < reloaded
    assert timing["activeMs"] >= 1200
    assert timing["totalMs"] >= timing["activeMs"]


def test_answer_is_opened_again_corrected_and_the_page_goes_on(
    browser: Browser, two: Portal
) -> None:
    page = opened(browser, two)
    first = item(page)
    page.keyboard.press("n")
    page.keyboard.press("Control+Enter")
    second = next_item(page, first)
    page.keyboard.press("u")
    page.keyboard.press("PageUp")
    assert next_item(page, second) == first
    assert state(page, "No Finding") == "present"
    assert "image 1 · answered" in page.locator(".cxr-header").inner_text()
    page.locator(f"{ROW.format('Pneumothorax')} [data-state='present']").click()
    page.keyboard.press("Control+Enter")
    assert next_item(page, first) == second
    assert state(page, "Edema") == "uncertain"
    page.close()

    (found,) = answers(two)
    states = {f["label"]: f["state"] for f in found["findings"]}
    assert states["Pneumothorax"] == "present"


def test_an_image_that_was_skipped_opens_with_the_reason(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    first = item(page)
    page.keyboard.press("k")
    page.locator('[data-skip="reason"]').select_option("other")
    page.locator('[data-skip="text"]').fill("a hand: left")
    page.keyboard.press("Enter")
    second = next_item(page, first)
    page.keyboard.press("PageUp")
    assert next_item(page, second) == first
    assert page.locator(".cxr-message").inner_text() == "You skipped this: other: a hand: left"
    page.keyboard.press("k")
    assert page.locator('[data-skip="reason"]').input_value() == "other"
    assert page.locator('[data-skip="text"]').input_value() == "a hand: left"
    page.close()


def test_undo_and_redo_walk_findings_and_regions_a_drag_a_step(
    browser: Browser, two: Portal
) -> None:
    page = opened(browser, two)
    regions = page.locator(".cxr-rois [data-roi], .cxr-rois li[data-roi]")
    page.locator(f"{ROW.format('Edema')} .cxr-name").click()
    page.keyboard.press("u")
    page.locator(f"{ROW.format('Edema')} .cxr-name").click()
    page.keyboard.press("b")
    drag(page, (100, 150), (180, 260))
    edema = page.locator(ROW.format("Edema"))
    walked = [
        ("", 1, "uncertain"),
        ("Control+z", 0, "uncertain"),
        ("Control+z", 0, "unanswered"),
        ("Control+Shift+Z", 0, "uncertain"),
        ("Control+y", 1, "uncertain"),
    ]
    for key, count, answer in walked:  # each waits: a loaded browser may take a key late
        if key:
            page.keyboard.press(key)
        expect(edema).to_have_attribute("data-answer", answer)
        expect(regions).to_have_count(count)
    page.close()


def test_stale_link_is_renewed_by_itself(browser: Browser, two: Portal) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if refused:
            return route.continue_()
        refused.append(route.request.url)
        return route.fulfill(status=403, body="{}")

    page.route("**/pacs/**", refuse_once)
    page.goto(two.url)
    ready(page)
    assert len(refused) == 1
    page.close()


def test_image_that_stays_away_is_said_and_keeps_the_answers(browser: Browser, two: Portal) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.route("**/pacs/**", lambda route: route.abort())
    page.goto(two.url)
    page.locator(".cxr-failure").wait_for(timeout=10_000)
    assert "cannot be reached" in page.locator(".cxr-failure").inner_text()
    page.keyboard.press("p")
    page.unroute("**/pacs/**")
    page.locator('[data-action="retry"]').click()
    ready(page)
    assert "present" in {state(page, label) for label in ("Edema", "Lung Opacity")}
    page.close()


@pytest.mark.parametrize(
    ("status", "says"), [(410, "went back"), (423, "closed"), (401, "Sign in")]
)
def test_refused_answer_is_explained_and_stays_on_the_page(
    browser: Browser, two: Portal, status: int, says: str
) -> None:
    page = opened(browser, two)
    first = item(page)
    body = json.dumps({"error": "this image went back" if status == 410 else "no"})
    page.route("**/answer?*", lambda route: route.fulfill(status=status, body=body))
    page.keyboard.press("n")
    page.keyboard.press("Control+Enter")
    page.locator(".crowd-failed").wait_for()
    assert says in page.locator(".crowd-failed").inner_text()
    assert state(page, "No Finding") == "present"
    page.unroute("**/answer?*")
    page.locator(f"{ROW.format('Support Devices')} [data-state='present']").click()
    page.keyboard.press("Control+Enter")
    next_item(page, first)
    page.close()


def test_draft_that_cannot_be_kept_is_said_and_tried_again(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    page.route("**/draft*", lambda route: route.abort())
    page.keyboard.press("p")
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    page.wait_for_function("() => document.querySelector('.cxr-quiet').textContent !== ''")
    assert "Not kept yet" in said(page)
    page.unroute("**/draft*")
    kept_draft(page)
    page.wait_for_function("() => document.querySelector('.cxr-quiet').textContent === ''")
    page.close()


def test_portal_started_anew_costs_no_answer(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    first = item(page)
    page.evaluate("() => { document.querySelector('meta[name=\"cxr-csrf\"]').content = 'old'; }")
    page.keyboard.press("n")
    kept_draft(page)
    page.evaluate("() => { document.querySelector('meta[name=\"cxr-csrf\"]').content = 'old'; }")
    page.keyboard.press("Control+Enter")
    next_item(page, first)
    page.close()


CROWD = """
document.addEventListener('DOMContentLoaded', () => {
  const form = document.querySelector('crowd-form');
  document.querySelector('crowd-button').addEventListener('click', () => {
    const { value } = form.querySelector('input[name="annotation"]');
    parent.postMessage({ annotation: value }, '*');
  });
});
"""
OUTER = """<!doctype html><title>outside</title>
<iframe {} src="/page" width="1280" height="660"></iframe><button>outside</button>"""
BOXED = 'sandbox="allow-scripts allow-forms"'


def sandbox(blob_workers: bool, attributes: str = BOXED) -> ThreadingHTTPServer:
    """A page in a frame of no origin, its image on a server that lets anyone read it."""
    viewer = rendering.viewer()
    task_input = {
        "imageUrl": "/image", "source": "1-2", "jobId": "job", "itemId": "1-2",
        "labels": list(LABELS.names), "noFinding": "No Finding", "viewerSrc": "/viewer.js",
    }  # fmt: skip
    body = rendering.render(task_input).replace(rendering.CROWD_SCRIPT, "/crowd.js")
    files = {
        "/": ("text/html", OUTER.format(attributes).encode()),
        "/page": ("text/html", f"<!doctype html><html><body>{body}</body></html>".encode()),
        "/crowd.js": ("text/javascript", CROWD.encode()),
        "/viewer.js": ("text/javascript", viewer.read_bytes()),
        "/image": ("application/dicom", synth.draw(0, seed=3, size=(ROWS, COLUMNS))[0]),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = files.get(self.path, ("text/plain", b""))
            self.send_response(200 if self.path in files else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Access-Control-Allow-Origin", "*")
            if self.path == "/page" and not blob_workers:
                self.send_header("Content-Security-Policy", "worker-src 'none'")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("blob_workers", [True, False])
def test_page_works_in_the_sandbox_of_ground_truth(browser: Browser, blob_workers: bool) -> None:
    server = sandbox(blob_workers)
    page = browser.new_page(viewport={"width": 1300, "height": 740})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script("addEventListener('message', (e) => { window.answer = e.data; })")
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    frame = page.frame_locator("iframe")
    frame.locator('html[data-cxr-ready="1"]').wait_for(timeout=20_000)
    workers = len(page.workers)
    quiet = frame.locator(".cxr-quiet").inner_text()
    frame.locator(f"{ROW.format('Edema')} [data-state='present']").click()
    frame.locator("[data-action='rest-absent']").click()
    frame.locator("crowd-button").click()
    page.wait_for_function("() => window.answer?.annotation")
    document = json.loads(page.evaluate("() => window.answer.annotation"))
    page.close()
    server.shutdown()
    server.server_close()

    assert workers == int(blob_workers)
    assert "No drafts here" in quiet
    assert {f["label"]: f["state"] for f in document["findings"]}["Edema"] == "present"
    assert document["image"]["rows"] == ROWS
    assert errors == []


@pytest.mark.parametrize("attributes", [BOXED, ""], ids=["sandbox", "frame"])
def test_a_click_on_the_image_gives_the_keys_to_a_page_in_a_frame(
    browser: Browser, attributes: str
) -> None:
    server = sandbox(True, attributes)
    page = browser.new_page(viewport={"width": 1300, "height": 740})
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    frame = page.frame_locator("iframe")
    frame.locator('html[data-cxr-ready="1"]').wait_for(timeout=20_000)
    page.get_by_role("button", name="outside", exact=True).click()
    page.mouse.click(500, 300)
    page.keyboard.press("n")
    state = frame.locator(ROW.format("No Finding")).get_attribute("data-answer")
    page.close()
    server.shutdown()
    server.server_close()

    assert state == "present"
