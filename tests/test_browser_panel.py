"""What stands beside the image on the worker page: findings, comments, regions, readers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lone_page
import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "<img src=x onerror=alert(1)> {{ task.input }}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("no chromium: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield opened
        opened.close()


def row(page: Page, label: str) -> Locator:
    return page.locator(f'.cxr-finding[data-label="{label}"]')


def choice(page: Page, label: str, state: str) -> Locator:
    return row(page, label).locator(f'[role="radio"][data-state="{state}"]')


def draw(page: Page, start: tuple[int, int] = (400, 250), size: int = 90) -> None:
    """Draw a rectangle on the screen, for the chosen finding."""
    page.keyboard.press("b")
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + size // 2, start[1] + size // 2, steps=3)
    page.mouse.move(start[0] + size, start[1] + size, steps=3)
    page.mouse.up()
    page.wait_for_timeout(200)


def said(page: Page) -> str:
    return page.locator(".cxr-message").inner_text()


def found(document: dict[str, Any], label: str) -> dict[str, Any]:
    return next(one for one in document["findings"] if one["label"] == label)


def test_a_comment_on_a_finding_is_marked_and_submitted(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        opener = row(page, "Fracture").locator('[data-action="comment-finding"]')
        before = row(page, "Lung Lesion").bounding_box()
        opener.click()
        page.keyboard.type("  sixth rib, pua1 ")
        assert row(page, "Lung Lesion").bounding_box() == before  # nothing moved
        page.keyboard.press("Enter")
        filled = opener.get_attribute("data-filled")
        focused = opener.evaluate("e => e === document.activeElement")
        hidden = page.locator(".cxr-note").is_hidden()
        page.keyboard.press("Shift+A")
        document = lone.submit(page)
        page.close()

    assert (filled, focused, hidden) == ("", True, True)
    assert found(document, "Fracture")["comment"] == "sixth rib, pua1"
    assert found(document, "Edema")["comment"] == ""
    assert lone.met == []


def test_a_job_may_do_without_comments_on_findings(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input(page={"comments": False})) as lone:
        page = lone.open(browser)
        openers = page.locator('[data-action="comment-finding"]').count()
        page.close()

    assert openers == 0


def test_the_chosen_answer_clicked_again_is_taken_back(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        present = choice(page, "Edema", "present")
        present.click()
        once = present.get_attribute("aria-checked")
        page.wait_for_timeout(600)  # longer than a double click
        present.click()
        twice = row(page, "Edema").get_attribute("data-answer")
        choice(page, "Fracture", "absent").dblclick()
        double = row(page, "Fracture").get_attribute("data-answer")
        page.close()

    assert (once, twice, double) == ("true", "unanswered", "absent")


def test_taking_back_a_finding_reopens_the_no_finding_that_stood_on_it(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        page.keyboard.press("n")
        why = said(page)
        excluded = row(page, "Edema").get_attribute("title")
        devices = row(page, "Support Devices").get_attribute("data-excluded")
        choice(page, "Edema", "absent").click()
        states = [row(page, n).get_attribute("data-answer") for n in ("Edema", "No Finding")]
        page.close()

    assert "No Finding is present" in why
    assert excluded == "Excluded while No Finding is present"
    assert devices is None
    assert states == ["unanswered", "unanswered"]


def test_submit_waits_for_a_region_that_the_job_asks_for(browser: Browser) -> None:
    asks = lone_page.task_input(page={"askRoi": ["Edema", "Pneumonia"]})
    with lone_page.serving(asks) as lone:
        page = lone.open(browser)
        choice(page, "Edema", "present").click()
        page.keyboard.press("Shift+A")
        quiet = row(page, "Edema").get_attribute("data-asks")
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(300)
        held, why = list(lone.answers), said(page)
        row(page, "Edema").locator(".cxr-name").click()
        draw(page)
        drawn = row(page, "Edema").get_attribute("data-asks")
        document = lone.submit(page)
        page.close()

    assert held == []
    assert quiet == ""
    assert drawn is None
    assert "Edema" in why
    assert "draw" in why
    assert [roi["label"] for roi in document["rois"]] == ["Edema"]


def test_a_region_is_listed_given_to_another_finding_hidden_and_deleted(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        row(page, "Edema").locator(".cxr-name").click()
        draw(page)
        item = page.locator(".cxr-rois [data-roi]")
        listed = (item.count(), item.locator(".cxr-name").inner_text())
        owners = item.locator("select option").all_inner_texts()
        item.locator("select").select_option("Pneumonia")
        moved = (
            item.locator(".cxr-name").inner_text(),
            row(page, "Pneumonia").get_attribute("data-answer"),
        )
        kept = row(page, "Edema").get_attribute("data-answer")
        eye = item.locator('[data-action="hide-roi"]')
        eye.focus()
        page.keyboard.press("Space")
        page.wait_for_timeout(200)
        focused = eye.evaluate("e => e === document.activeElement")
        lines = page.locator(".cxr-stage svg rect").evaluate_all(
            "all => all.filter((e) => getComputedStyle(e).display !== 'none').length"
        )
        tags = page.locator(".cxr-tags span").count()
        item.locator('[data-action="delete-roi"]').click()
        left = item.count()
        page.close()

    assert listed == (1, "Edema")
    assert "No Finding" not in owners
    assert moved == ("Pneumonia", "present")
    assert kept == "present"
    assert (focused, lines, tags) == (True, 0, 0)
    assert left == 0


def test_a_region_given_to_an_absent_finding_asks_to_change_it(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        choice(page, "Pneumonia", "absent").click()
        row(page, "Edema").locator(".cxr-name").click()
        draw(page)
        page.locator(".cxr-rois select").select_option("Pneumonia")
        asked = said(page)
        page.locator(".cxr-message button", has_text="Set uncertain").click()
        state = row(page, "Pneumonia").get_attribute("data-answer")
        page.close()

    assert "Pneumonia is marked absent" in asked
    assert state == "uncertain"
