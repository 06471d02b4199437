"""From image to image without submitting, and from the worker page to the portal's other pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lone_page import serving, task_input
from panel import Panel
from playwright.sync_api import Browser, Page
from sites import let_go
from test_browser import Portal, opened, ready, serve
from test_browser_session import answers, item, next_item, state

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Portal]:
    served = serve(tmp_path, images=3)
    yield served
    let_go(served.backend.close)


def answer(page: Page) -> str:
    """Answer the image that is shown; gives the next one."""
    before = item(page)
    page.keyboard.press("n")
    page.keyboard.press("Control+Enter")
    return next_item(page, before)


def place(page: Page) -> str:
    return page.locator(".cxr-place").inner_text()


def menu(page: Page) -> list[str]:
    return page.locator("[role=menu] a").all_inner_texts()


def test_answers_are_gone_through_and_the_open_image_is_met_again(
    browser: Browser, three: Portal
) -> None:
    page = opened(browser, three)
    first = item(page)
    second = answer(page)
    third = answer(page)
    step = page.locator("[data-action=next]")
    assert (place(page), step.is_visible()) == ("3 of 3", False)
    page.keyboard.press("p")

    page.keyboard.press("PageUp")
    assert next_item(page, third) == second
    assert (place(page), page.title()) == ("image 2 · answered", "page · image 2 · answered")
    page.keyboard.press("PageUp")
    assert next_item(page, second) == first
    assert place(page) == "image 1 · answered"
    assert page.locator("[data-action=previous]").is_hidden()
    page.reload()
    ready(page)
    assert (item(page), place(page)) == (first, "image 1 · answered")
    page.keyboard.press("PageDown")
    assert next_item(page, first) == second
    step.click()
    assert next_item(page, second) == third

    assert place(page) == "3 of 3"
    assert page.url.endswith("/task")
    assert state(page, page.locator("[data-label]").first.get_attribute("data-label")) == "present"
    page.keyboard.press("PageDown")
    assert "no image after" in page.locator(".cxr-message").inner_text()
    page.close()
    assert len(answers(three)) == 2
    assert [m for m in three.met if m.startswith("error")] == []


def test_an_answer_from_another_window_is_corrected_and_the_page_says_so(
    browser: Browser, three: Portal
) -> None:
    page, other = opened(browser, three), opened(browser, three)
    assert item(page) == item(other)
    first = item(page)
    answer(page)
    other.locator('[data-label="Edema"] [data-state="present"]').click()
    other.keyboard.press("Shift+A")
    other.keyboard.press("Control+Enter")
    next_item(other, first)

    assert other.locator(".cxr-message").inner_text() == (
        "Answered before in another window; this corrected it"
    )
    for one in (page, other):
        one.close()
    (found,) = answers(three)
    assert {f["label"]: f["state"] for f in found["findings"]}["Edema"] == "present"


def test_the_portals_pages_are_reached_from_the_jobs_name(browser: Browser, three: Portal) -> None:
    page = opened(browser, three)
    answer(page)
    name = page.locator("[data-action=rooms]")
    assert page.locator("h1").inner_text().startswith("Job page")

    name.focus()
    page.keyboard.press("Enter")
    assert name.get_attribute("aria-expanded") == "true"
    assert menu(page) == ["Read", "Your answers", "Account"]
    page.keyboard.press("Escape")
    assert menu(page) == []
    assert page.evaluate("() => document.activeElement.dataset.action") == "rooms"
    name.click()
    page.keyboard.press("ArrowDown")
    box = page.locator("[role=menu] a").last.bounding_box()
    assert box is not None
    assert box["height"] >= 32
    page.keyboard.press("Enter")

    page.wait_for_url("**/answered")
    page.close()
    assert [m for m in three.met if m.startswith("error")] == []


def test_an_adjudicator_finds_her_way_too(browser: Browser, tmp_path: Path) -> None:
    panel = Panel(tmp_path, images=1)
    for reader, letters in {"ann1": "aaap", "bob2": "pppa", "cyd3": "aapa"}.items():
        panel.read(reader, lambda _, letters=letters: letters)
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(panel.links["dan"])
    ready(page)

    page.locator("[data-action=rooms]").click()
    shown = menu(page)
    page.locator("[role=menu]").get_by_text("Account").click()
    page.wait_for_url("**/passphrase")
    page.close()
    panel.stop()

    assert shown == ["Adjudicate", "Account"]


def test_a_page_without_a_portal_has_no_way_to_one(browser: Browser) -> None:
    with serving(task_input()) as lone:
        page = lone.open(browser)
        heading, steps = page.locator("h1"), page.locator("[data-action=next]")

        assert heading.locator("button").count() == 0
        assert heading.inner_text().startswith("Job ")
        assert steps.is_hidden()
        page.close()
