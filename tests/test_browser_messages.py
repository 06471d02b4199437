"""What the worker page says, and when it stops saying it."""

from typing import Any

import lone_page
import pytest
from lone_page import Lone
from playwright.sync_api import Browser, Page, Route
from test_browser_panel import disputed_task, draw, row, said

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WINDOWS = [
    {"name": name, "center": center, "width": 400}
    for name, center in (("tube tip", 600), ("apices", 900), ("retrocardiac", 700))
]


def offers(page: Page) -> list[str]:
    return page.locator(".cxr-message button").all_inner_texts()


def chosen(page: Page) -> str | None:
    found = page.locator(".cxr-finding:has([aria-current=true])")
    return found.get_attribute("data-label")


def say(page: Page, label: str, state: str) -> None:
    row(page, label).locator(f'[role="radio"][data-state="{state}"]').click()


def waiting(browser: Browser, lone: Lone) -> tuple[Page, list[Route]]:
    """Open the page with an image that does not come."""
    held: list[Route] = []
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.route("**/image/0", lambda route: held.append(route))
    page.goto(lone.url)
    page.wait_for_selector(".cxr-panel[data-waiting]")
    page.wait_for_timeout(300)
    return page, held


def test_keys_pressed_before_the_image_is_there_are_answered(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page, held = waiting(browser, lone)
        early = []
        for key in ("p", "Shift+A", "i", "Control+Enter"):
            page.keyboard.press(key)
            early.append(said(page))
        dimmed = page.locator(".cxr-findings").evaluate("e => getComputedStyle(e).opacity")
        disabled = page.locator(".cxr-panel").get_attribute("aria-disabled")
        readout = page.locator(".cxr-readout").inner_text()
        held[0].continue_()
        page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)
        answered = page.locator(".cxr-count").inner_text()
        lit = page.locator(".cxr-findings").evaluate("e => getComputedStyle(e).opacity")
        left, enabled = said(page), page.locator(".cxr-panel").get_attribute("aria-disabled")
        page.close()

    assert set(early) == {"The next image is not there yet: that key did nothing"}
    assert (disabled, enabled, left) == ("true", None, "")
    assert float(dimmed) < 0.7
    assert (lit, readout, answered) == ("1", "", "0 of 14")


def test_what_was_refused_is_not_said_any_longer_once_it_was_done(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        page.keyboard.press("b")
        page.mouse.move(90, 250)
        page.mouse.down()
        page.mouse.move(110, 300, steps=3)  # beside the image
        page.mouse.up()
        refused = said(page)
        draw(page, (300, 250))
        done = said(page)
        page.keyboard.press("Control+Enter")
        unanswered = said(page)
        row(page, "Fracture").locator(".cxr-name").click()
        turned = said(page)
        page.close()

    assert "must lie on the image" in refused
    assert unanswered.startswith("Unanswered: ")
    assert "must lie" not in done
    assert turned == ""


def test_undo_goes_back_to_the_finding_too(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        row(page, "Fracture").locator(".cxr-name").click()
        page.keyboard.press("p")
        after = chosen(page)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Control+z")
        back = chosen(page)
        page.keyboard.press("Control+Shift+Z")
        again = row(page, "Fracture").get_attribute("data-answer")
        page.close()

    assert (after, back, again) == ("Lung Lesion", "Fracture", "present")


def test_a_contradiction_is_said_once_and_by_what_made_it(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        say(page, "Lung Opacity", "absent")
        say(page, "Edema", "present")
        first = said(page)
        say(page, "Fracture", "absent")
        next_one = said(page)
        marked = row(page, "Edema").get_attribute("data-warning")
        page.close()

    assert "its parent Lung Opacity is absent" in first
    assert "Lung Opacity" not in next_one
    assert marked == ""


def test_the_rest_absent_spares_the_parent_of_what_is_present(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        say(page, "Edema", "present")
        page.keyboard.press("Shift+A")
        text = said(page)
        document = lone.submit(page)
        page.close()

    states = {f["label"]: f["state"] for f in document["findings"]}
    assert states["Lung Opacity"] == "present"
    assert "Lung Opacity set to present, as Edema is" in text


def test_a_region_on_an_absent_finding_offers_the_ways_out_at_submit(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        row(page, "Edema").locator(".cxr-name").click()
        draw(page, (300, 250))
        say(page, "Edema", "absent")
        at_once = offers(page)
        page.keyboard.press("Shift+A")
        page.keyboard.press("Control+Enter")
        at_submit = offers(page)
        page.get_by_role("button", name="Set uncertain").click()
        left = said(page)
        document = lone.submit(page)
        page.close()

    assert at_once == at_submit == ["Set present", "Set uncertain", "Delete the region"]
    assert "Edema is" not in left
    assert [roi["state"] for roi in document["rois"]] == ["uncertain"]


def test_a_region_that_is_asked_for_may_be_a_reader_s(browser: Browser) -> None:
    task = disputed_task() | {"page": {"askRoi": ["Edema"]}}
    with lone_page.serving(task) as lone:
        page = lone.open(browser)
        say(page, "Edema", "present")
        page.keyboard.press("Control+Enter")
        offered = offers(page)
        page.locator(".cxr-message button").first.click()
        document = lone.submit(page)
        page.close()

    assert offered == ["Copy A’s", "Copy B’s"]
    assert document["rois"][0]["points"] == [[100, 150], [180, 260]]


def test_a_reader_who_skipped_is_the_dispute_and_the_rest_is_filled_in(browser: Browser) -> None:
    task = disputed_task()
    task["opinions"] = [task["opinions"][0], task["opinions"][2]]
    task["disputed"] = lone_page.LABELS[:-1]
    with lone_page.serving(task) as lone:
        page = lone.open(browser)
        counted = page.locator(".cxr-count").inner_text()
        first = page.locator(".cxr-said li").first
        text, marked = first.inner_text(), first.get_attribute("data-skipped")
        document = lone.submit(page)
        page.close()

    assert "C skipped" in counted
    assert "skipped: not frontal" in text
    assert "disputed" in text
    assert marked == ""
    assert {f["label"] for f in document["findings"] if f["state"] == "present"} == {"Edema"}


def test_enter_confirms_a_skip_unless_other_lacks_words(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        page.keyboard.press("k")
        reason = page.locator('[data-skip="reason"]')
        reason.select_option("other")
        reason.press("Enter")
        still = page.locator("dialog[open]").count()
        typing = page.evaluate("document.activeElement.dataset.skip")
        reason.select_option("unreadable")
        reason.press("Enter")
        page.locator("#done").wait_for(timeout=10_000)
        page.close()

    assert (still, typing) == (1, "text")
    assert lone.answers[-1]["quality"] == {"usable": False, "reason": "unreadable"}


def test_a_second_escape_leaves_the_image(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        page.keyboard.press("b")
        page.locator(".cxr-stage").focus()
        for key in ("Enter", "ArrowRight", "ArrowDown", "Enter", "Escape"):
            page.keyboard.press(key)
        focused = "document.activeElement.classList.contains('cxr-stage')"
        one = page.evaluate(focused)
        page.keyboard.press("Escape")
        two = page.evaluate(focused)
        before = chosen(page)
        page.keyboard.press("ArrowDown")
        after = chosen(page)
        page.close()

    assert (one, two) == (True, False)
    assert before != after


def test_that_there_is_nothing_to_compare_with_is_said(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        page.keyboard.press("y")
        text = said(page)
        page.close()

    assert text == "No other images of this patient"


def test_the_letters_of_the_sides_are_on_other_images_too(browser: Browser) -> None:
    one = {"kind": "prior", "imageUrl": "/image/1", "says": "prior, 120 days before"}
    with lone_page.serving(lone_page.task_input(companions=[one])) as lone:
        page = lone.open(browser)
        page.keyboard.press("y")
        page.wait_for_timeout(1500)
        script = "all => all.map((e) => e.textContent)"
        theirs = page.locator(".cxr-beside-edge").evaluate_all(script)
        own = page.locator(".cxr-edge").evaluate_all(script)
        page.close()

    assert theirs == own
    assert "R" in theirs


@pytest.mark.parametrize("decides", [False, True], ids=["reading", "dispute"])
def test_no_window_is_cut_off_and_the_one_in_use_is_marked(browser: Browser, decides: bool) -> None:
    task = disputed_task() if decides else lone_page.task_input()
    with lone_page.serving(task | {"page": {"windows": WINDOWS}}) as lone:
        page = lone.open(browser)
        pressed = page.locator('.cxr-windows [aria-pressed="true"]')
        met: list[Any] = [pressed.all_inner_texts()]
        for key in ("7", "Shift+ArrowUp", "2"):
            page.keyboard.press(key)
            page.wait_for_timeout(100)
            met.append(pressed.all_inner_texts())
        cut = page.locator(".cxr-windows button").evaluate_all(
            """all => all.filter((e) => {
                 const [b, w] = [e, document.querySelector('.cxr-main')].map((x) =>
                   x.getBoundingClientRect());
                 return b.right > w.right || b.bottom > innerHeight || b.height < 24
                   || e.scrollWidth > e.clientWidth + 1;
               }).length"""
        )
        page.close()

    names = [[text.split("\n")[-1].lstrip("0123456789") for text in one] for one in met]
    assert names == [["Default"], ["apices"], [], ["Lung"]]
    assert cut == 0


def test_two_regions_at_least_are_seen_in_the_list_and_the_selected_one(browser: Browser) -> None:
    labels = [*lone_page.LABELS[:-1], "Extra", "No Finding"]
    with lone_page.serving(lone_page.task_input(labels=labels)) as lone:
        page = lone.open(browser)
        for x in (240, 340, 440, 540):
            draw(page, (x, 250), size=60)
        head = page.locator(".cxr-lower h2").inner_text()
        more = page.locator(".cxr-more")
        seen = """() => {
          const box = document.querySelector('.cxr-lower').getBoundingClientRect();
          return [...document.querySelectorAll('.cxr-rois li')].map((e) => {
            const b = e.getBoundingClientRect();
            return b.top >= box.top - 1 && b.bottom <= box.bottom + 1;
          });
        }"""
        last = page.evaluate(seen)
        page.keyboard.press(".")
        page.wait_for_timeout(100)
        first = page.evaluate(seen)
        below = more.is_visible()
        page.close()

    assert head == "Regions 4"
    assert last[-1]
    assert first[0]
    assert min(sum(last), sum(first)) >= 2
    assert below
