"""What a reader said lands on its own image, and none of it is lost on the way."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from panel import Panel
from playwright.sync_api import Browser, Page, Route
from sites import let_go
from test_browser import Portal, opened, ready, serve
from test_browser_session import (
    ROW,
    answers,
    item,
    kept_draft,
    next_item,
    said,
    state,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]
STALE = (
    """() => { document.querySelector('meta[name="cxr-csrf"]').content = 'of another portal'; }"""
)
ELSEWHERE = """() => {
  document.querySelector('meta[name="cxr-submit-url"]').content = '/elsewhere';
}"""
EDEMA = ROW.format("Edema")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Portal]:
    served = serve(tmp_path, images=2)
    yield served
    let_go(served.backend.close)


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    """A job of two images on which the readers differ."""
    made = Panel(tmp_path, images=2)
    for reader, letters in {"ann1": "aaap", "bob2": "pppa", "cyd3": "aapa"}.items():
        made.read(reader, lambda _, letters=letters: letters)
    yield made
    let_go(made.stop)


def answer_first(page: Page) -> tuple[str, str]:
    """Answer the first image; gives its name and that of the second, which is shown then."""
    first = item(page)
    page.keyboard.press("n")
    page.keyboard.press("Control+Enter")
    return first, next_item(page, first)


def message(page: Page) -> str:
    return page.locator(".cxr-message").inner_text()


def states(documents: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    return {
        document["task"]["itemId"]: {f["label"]: f["state"] for f in document["findings"]}
        for document in documents
    }


def test_answer_sent_again_goes_to_its_own_image(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    first, second = answer_first(page)
    held: list[Route] = []
    page.route("**/api/csrf", lambda route: held.append(route))
    page.evaluate(STALE)
    page.locator(f"{EDEMA} [data-state='present']").click()
    page.keyboard.press("Shift+A")
    with page.expect_request("**/api/csrf"):
        page.keyboard.press("Control+Enter")
    page.keyboard.press("PageUp")
    page.locator(".cxr-message").get_by_text("being sent").wait_for()
    assert item(page) == second
    page.evaluate(ELSEWHERE)
    held[0].continue_()
    page.get_by_role("heading", name="All images are labelled").wait_for()
    page.close()

    found = states(answers(two))
    assert found[first]["Edema"] == "absent"
    assert found[second]["Edema"] == "present"


def test_links_wait_for_an_answer_that_is_being_sent(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    first = item(page)
    held: list[Route] = []
    page.route("**/answer?*", lambda route: held.append(route))
    page.keyboard.press("n")
    with page.expect_request("**/answer?*"):
        page.keyboard.press("Control+Enter")
    page.locator("[data-action=rooms]").click()
    page.get_by_role("menuitem", name="Your answers").click()
    assert "being sent" in message(page)
    page.keyboard.press("Control+Enter")  # nor is it sent twice
    held[0].continue_()
    next_item(page, first)
    page.locator("[data-action=rooms]").click()
    page.get_by_role("menuitem", name="Your answers").click()
    page.wait_for_url("**/answered")
    page.close()
    assert len(held) == 1


def test_decision_that_was_refused_is_kept_for_a_page_loaded_anew(
    browser: Browser, panel: Panel
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(panel.links["dan"])
    ready(page)
    page.route("**/decision*", lambda route: route.fulfill(status=503, body="{}"))
    page.locator(f"{EDEMA} [data-state='uncertain']").click()
    page.keyboard.press("Shift+A")
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")  # kept once already
    page.keyboard.press("Control+Enter")
    page.locator(".crowd-failed").wait_for()
    page.reload()
    ready(page)
    assert "Restored" in said(page)
    assert state(page, "Edema") == "uncertain"
    page.close()


def test_portal_started_anew_costs_no_decision(browser: Browser, panel: Panel) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(panel.links["dan"])
    ready(page)
    first = item(page)
    page.evaluate(STALE)
    page.locator(f"{EDEMA} [data-state='uncertain']").click()
    page.keyboard.press("Shift+A")
    page.keyboard.press("Control+Enter")
    next_item(page, first)
    kept = page.evaluate("() => Object.keys(sessionStorage).length")
    page.close()

    assert kept == 0
    assert len(panel.backend._answers.decisions()) == 1


def test_going_back_waits_until_what_was_answered_is_kept(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    first, second = answer_first(page)
    page.route("**/draft*", lambda route: route.fulfill(status=500, body="{}"))
    page.locator(f"{EDEMA} [data-state='present']").click()
    page.keyboard.press("PageUp")
    page.locator(".cxr-message").get_by_text("could not be kept").wait_for()
    assert (item(page), state(page, "Edema")) == (second, "present")

    page.unroute("**/draft*")
    held: list[Route] = []
    page.route("**/draft*", lambda r: r.continue_() if held else held.append(r))
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")  # a draft is on its way
    page.wait_for_timeout(300)
    page.locator(f"{EDEMA} [data-state='uncertain']").click()
    page.keyboard.press("PageUp")
    held[0].continue_()
    assert next_item(page, second) == first
    page.goto(two.url)
    ready(page)
    assert (item(page), state(page, "Edema")) == (second, "uncertain")
    page.close()


def test_late_draft_does_not_hide_the_answer(browser: Browser, two: Portal) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page, other = context.new_page(), context.new_page()
    for one in (page, other):
        one.goto(two.url)
        ready(one)
    other.locator(f"{EDEMA} [data-state='uncertain']").click()
    _, second = answer_first(page)
    with other.expect_response(lambda r: r.request.method == "PUT") as late:
        other.evaluate("() => window.dispatchEvent(new Event('blur'))")
    assert late.value.status == 409
    other.wait_for_timeout(100)
    assert said(other) == ""
    page.keyboard.press("PageUp")
    next_item(page, second)
    assert (state(page, "No Finding"), state(page, "Edema")) == ("present", "absent")

    page.locator(f"{ROW.format('Support Devices')} [data-state='present']").click()
    kept_draft(page)  # what goes on from the answer is kept
    page.reload()
    ready(page)
    assert state(page, "Support Devices") == "present"
    context.close()


def test_draft_with_regions_of_another_page_opens(browser: Browser, two: Portal) -> None:
    page = opened(browser, two)
    points = [[10, 10], [20, 20]]
    rois = [
        {"id": kind, "type": kind, "label": "Edema", "points": points}
        for kind in ("circle", "constructor", "ellipse", "rectangle")
    ]
    draft = {"answers": {"Edema": "present"}, "rois": rois}
    page.evaluate(
        """(draft) => {
             const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
             const headers = { 'X-CSRF': meta('cxr-csrf') };
             const url = JSON.parse(meta('cxr-offer')).draftUrl;
             return fetch(url, { method: 'PUT', headers, body: JSON.stringify(draft) });
           }""",
        draft,
    )
    page.reload()
    ready(page)
    assert page.locator(".cxr-rois [data-roi]").evaluate_all(
        "all => all.map((e) => e.dataset.type)"
    ) == ["rectangle"]
    page.close()


def test_length_on_an_absent_finding_does_not_say_it_is_there(
    browser: Browser, two: Portal
) -> None:
    page = opened(browser, two)
    page.locator(f"{EDEMA} .cxr-name").click()
    page.keyboard.press("l")
    box = page.locator(".cxr-stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 200, steps=3)
    page.mouse.up()
    answer_first(page)
    page.close()

    (found,) = answers(two)
    assert [(roi["type"], roi["state"]) for roi in found["rois"]] == [("length", "absent")]
    (rois,) = [json.loads(json.dumps(line.document.get("rois", []))) for line in two.output()]
    assert [roi["state"] for roi in rois] == ["absent"]
