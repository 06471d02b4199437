"""Drafts of the worker page where the portal is late, refuses them, or is not there."""

import json
from collections.abc import Iterator
from pathlib import Path

import lone_page
import pytest
from playwright.sync_api import Browser, Page, Route
from sites import let_go
from test_browser import Portal, opened, ready, serve
from test_browser_session import ROW, item, next_item, said, state

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EDEMA = ROW.format("Edema")
DRAFTS = """() => Object.keys({ ...localStorage, ...sessionStorage })
  .filter((key) => key.startsWith('cxr-draft:'))"""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Portal]:
    served = serve(tmp_path, images=2)
    yield served
    let_go(served.backend.close)


def lose_drafts(page: Page) -> None:
    """Let the portal hear of no change, as if it had not come when it is asked."""
    page.route("**/draft*", lambda route: route.abort())


def test_a_page_loaded_anew_goes_on_from_the_last_change(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    page.locator(f"{EDEMA} [data-state='uncertain']").click()
    with page.expect_response(lambda r: r.request.method == "PUT" and r.status == 204):
        page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    lose_drafts(page)
    page.locator(f"{EDEMA} [data-state='present']").click()
    page.reload()
    ready(page)
    restored = state(page, "Edema"), said(page)
    page.unroute("**/draft*")
    with page.expect_response(lambda r: r.request.method == "PUT" and r.status == 204):
        page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    other = page.context.browser.new_page()  # type: ignore[union-attr]
    other.goto(page.url)
    ready(other)
    elsewhere = state(other, "Edema")
    other.locator(f"{EDEMA} [data-state='absent']").click()
    with other.expect_response(lambda r: r.request.method == "PUT" and r.status == 204):
        other.evaluate("() => window.dispatchEvent(new Event('blur'))")
    other.close()
    page.reload()
    ready(page)
    newest = state(page, "Edema")
    first = item(page)
    page.keyboard.press("Shift+A")
    page.keyboard.press("Control+Enter")
    next_item(page, first)
    left = page.evaluate(DRAFTS)
    page.close()

    assert restored[0] == "present"
    assert "Restored" in restored[1]
    assert elsewhere == "present"  # the portal was told
    assert newest == "absent"  # of another browser, and later
    assert left == []


@pytest.mark.parametrize(
    ("status", "says", "again"),
    [
        (410, "this image went back", False),
        (423, "this job is closed", False),
        (401, "Sign in again in another tab", True),
    ],
)
def test_a_refused_draft_says_why_and_is_tried_again_where_there_is_hope(
    browser: Browser, two: Portal, status: int, says: str, again: bool
) -> None:
    page = opened(browser, two)
    page.clock.install()
    tried: list[Route] = []
    error = {410: "this image went back", 423: "this job is closed"}.get(status, "sign in")

    def refuse(route: Route) -> None:
        tried.append(route)
        route.fulfill(status=status, body=json.dumps({"error": error}))

    page.route("**/draft*", refuse)
    page.keyboard.press("p")
    page.clock.run_for(4000)
    page.wait_for_function("() => document.querySelector('.cxr-quiet').textContent !== ''")
    met = said(page)
    page.keyboard.press("p")
    for _ in range(3):
        page.clock.run_for(9000)
        page.wait_for_timeout(100)
    page.close()

    assert says in met
    assert (len(tried) > 1) == again


def test_drafts_without_a_portal_stay_in_their_tab(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        lone.files["/task"] = lone.files["/task"].replace(b"cxr-submit-url", b"no-portal")
        context = browser.new_context()
        page = context.new_page()
        page.goto(lone.url)
        ready(page)
        page.locator(f"{EDEMA} [data-state='present']").click()
        page.reload()
        ready(page)
        mine = state(page, "Edema")
        other = context.new_page()
        other.goto(lone.url)
        ready(other)
        others = state(other, "Edema")
        context.close()

    assert (mine, others) == ("present", "unanswered")
