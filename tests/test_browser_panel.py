"""What stands beside the image on the worker page: findings, comments, regions, readers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lone_page
import pytest
from panel import Panel
from playwright.sync_api import Browser, Locator, Page, Route

from cxr.images import synth

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HOSTILE = "<img src=x onerror=alert(1)> {{ task.input }}"


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


def test_keys_comment_take_back_and_compare(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input(companions=COMPANIONS)) as lone:
        page = lone.open(browser)
        row(page, "Fracture").locator(".cxr-name").click()
        page.keyboard.press("Shift+C")
        page.keyboard.type("sixth rib")
        page.keyboard.press("Escape")
        title = (
            row(page, "Fracture").locator('[data-action="comment-finding"]').get_attribute("title")
        )
        page.keyboard.press("p")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("x")
        state = row(page, "Fracture").get_attribute("data-answer")
        page.keyboard.press("y")
        beside = page.locator(".cxr-beside").is_visible()
        page.keyboard.press("y")
        gone = page.locator(".cxr-beside").is_visible()
        page.keyboard.press("c")
        page.keyboard.type("pys")  # no commands while typing
        typed = page.locator(".cxr-comment").input_value()
        page.close()

    assert title == "sixth rib"
    assert state == "unanswered"
    assert (beside, gone) == (True, False)
    assert typed == "pys"


def test_what_is_said_of_keys_follows_the_job(browser: Browser) -> None:
    keys = {"present": "j", "rest-absent": "shift+z", "comment-finding": "ctrl+m"}
    settings = {"keys": keys, "tools": ["window", "rectangle", "ellipse"]}
    with lone_page.serving(lone_page.task_input(page=settings)) as lone:
        page = lone.open(browser)
        edema = row(page, "Edema")
        titles = [
            choice(page, "Edema", "present").get_attribute("title"),
            choice(page, "Edema", "absent").get_attribute("title"),
            edema.locator('[data-action="comment-finding"]').get_attribute("title"),
            page.locator('[data-action="rest-absent"] kbd').inner_text(),
            page.locator(".cxr-none").inner_text(),
        ]
        page.close()

    assert titles == [
        "Present (J)", "Absent (A)", "Comment on this finding (Ctrl+M)", "⇧Z",
        "No regions. B or E draws one for Atelectasis.",
    ]  # fmt: skip


def test_a_job_may_do_without_free_text(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input(page={"comments": False})) as lone:
        page = lone.open(browser)
        openers = page.locator('[data-action="comment-finding"]').count()
        page.get_by_role("button", name="Skip").click()
        fields = page.locator("#cxr-root :is(input, textarea)").evaluate_all(
            "all => all.filter((e) => e.checkVisibility()).length"
        )
        page.locator('[data-skip="reason"]').select_option("other")
        page.locator('[data-action="confirm-skip"]').click()
        page.locator("#done").wait_for(timeout=10_000)
        page.close()

    assert (openers, fields) == (0, 0)
    assert lone.answers[0]["quality"]["reason"] == "other"


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
        listed = (item.count(), item.locator(".cxr-name span").first.inner_text())
        item.locator('[data-action="rebind-roi"]').click()
        owners = page.get_by_role("menuitemradio").all_inner_texts()
        page.get_by_role("menuitemradio", name="Pneumonia").click()
        moved = (
            item.locator(".cxr-name span").first.inner_text(),
            row(page, "Pneumonia").get_attribute("data-answer"),
        )
        before = row(page, "Edema").get_attribute("data-answer")
        eye = item.locator('[data-action="hide-roi"]')
        eye.focus()
        page.keyboard.press("Space")
        page.wait_for_timeout(200)
        focused = eye.evaluate("e => e === document.activeElement")
        lines = page.locator(".cxr-regions path").count()
        tags = page.locator(".cxr-tags span").count()
        item.locator('[data-action="delete-roi"]').click()
        left = item.count()
        page.close()

    assert listed == (1, "Edema")
    assert "No Finding" not in owners
    assert moved == ("Pneumonia", "present")
    assert before == "unanswered"  # only the region had set it present
    assert (focused, lines, tags) == (True, 0, 0)
    assert left == 0


def test_a_region_given_to_an_absent_finding_asks_to_change_it(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        choice(page, "Pneumonia", "absent").click()
        row(page, "Edema").locator(".cxr-name").click()
        draw(page)
        page.locator('[data-action="rebind-roi"]').click()
        page.get_by_role("menuitemradio", name="Pneumonia").click()
        asked = said(page)
        page.locator(".cxr-message button", has_text="Set uncertain").click()
        state = row(page, "Pneumonia").get_attribute("data-answer")
        page.close()

    assert "Pneumonia is marked absent" in asked
    assert "Edema is unanswered again" in asked
    assert state == "uncertain"


PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cch\0\0\0\x82\0\x81"
    b"w\xcdr\xb6\0\0\0\0IEND\xaeB`\x82"
)


def test_instructions_show_example_images_with_their_captions(browser: Browser) -> None:
    examples = [{"url": "/one.png", "caption": HOSTILE}, {"url": "/two.png", "caption": "a pleat"}]
    task = lone_page.task_input(instructions=f"Read\n{HOSTILE}", examples=examples)
    with lone_page.serving(task) as lone:
        lone.files |= {"/one.png": PNG, "/two.png": PNG}
        page = lone.open(browser)
        shut = page.locator("dialog[open]").count()
        page.get_by_role("button", name="Instructions").click()
        captions = page.locator("dialog[open] figcaption").all_inner_texts()
        page.wait_for_timeout(300)
        widths = page.locator("dialog[open] img").evaluate_all(
            "all => all.map((e) => e.naturalWidth)"
        )
        text = page.locator("dialog[open] p").inner_text()
        page.keyboard.press("Escape")
        closed = page.locator("dialog[open]").count()
        page.close()

    assert (shut, closed) == (0, 0)
    assert captions == [HOSTILE, "a pleat"]
    assert widths == [1, 1]
    assert text == f"Read\n{HOSTILE}"
    assert lone.met == []


def test_only_what_the_job_shows_of_a_patient_is_shown_and_as_text(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        nothing = page.locator(".cxr-patient").is_visible()
        page.close()
    shown = {"age": 63, "sex": "F", "indication": HOSTILE}
    with lone_page.serving(lone_page.task_input(shown=shown)) as lone:
        page = lone.open(browser)
        line = page.locator(".cxr-patient").inner_text()
        page.close()
    told = {"indication": "fever " * 200}
    with lone_page.serving(lone_page.task_input(shown=told)) as lone:
        page = lone.open(browser)
        whole = "e => [e.scrollHeight <= e.clientHeight, e.offsetParent !== null]"
        cut = page.locator(".cxr-patient span").evaluate(whole)
        page.locator(".cxr-patient").focus()
        opened = page.locator(".cxr-patient span").evaluate(whole)
        stage = page.locator(".cxr-stage").bounding_box()
        page.close()

    assert not nothing
    assert line == f"63 y · F · {HOSTILE}"
    assert (cut, opened) == ([False, True], [True, True])
    assert stage is not None
    assert stage["y"] == pytest.approx(44)
    assert lone.met == []


COMPANIONS = [
    {"kind": "lateral", "imageUrl": "/image/1", "says": "lateral"},
    {"kind": "prior", "imageUrl": "/gone", "says": "prior, 120 days before"},
]


SIZES = [(1280, 720), (1920, 1080)]
FULL = {
    "instructions": "Answer every finding.",
    "shown": {"age": 63, "sex": "F", "indication": "Cough and fever, known heart failure " * 3},
    "companions": COMPANIONS,
    "page": {"askRoi": ["Edema"]},
}


def lit(page: Page) -> int:
    """How many pixels of the other image are not black."""
    return int(
        page.locator(".cxr-beside canvas").evaluate(
            """e => e.getContext('2d').getImageData(0, 0, e.width, e.height).data
                 .filter((v, i) => i % 4 === 0 && v > 0).length"""
        )
    )


def loaded(page: Page) -> None:
    page.locator(".cxr-beside-state > *").first.wait_for(state="detached", timeout=20_000)
    page.wait_for_timeout(200)


def test_other_images_are_loaded_when_asked_for_and_give_their_room_back(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input(companions=COMPANIONS)) as lone:
        page = lone.open(browser)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        alone = page.locator(".cxr-stage").bounding_box()
        page.get_by_role("button", name="Compare").click()
        loaded(page)
        beside, pixels = page.locator(".cxr-stage").bounding_box(), lit(page)
        label = page.locator(".cxr-beside").inner_text()
        page.locator(".cxr-beside canvas").hover()
        page.mouse.wheel(0, -1200)
        page.wait_for_timeout(200)
        closer = lit(page)
        page.get_by_role("button", name="Close the other image").click()
        after = page.locator(".cxr-stage").bounding_box()
        page.close()

    assert asked == ["1"]
    assert alone is not None and beside is not None  # noqa: PT018
    assert beside["width"] < alone["width"] - 200
    assert "read-only" in label
    assert 1000 < pixels < closer
    assert after == alone
    assert lone.met == []


def test_an_other_image_that_fails_says_so_and_leaves_the_reading_alone(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input(companions=COMPANIONS)) as lone:
        page = lone.open(browser)
        page.get_by_role("button", name="Compare").click()
        page.get_by_role("button", name="prior, 120 days before").click()
        failed = page.locator(".cxr-beside-state")
        failed.get_by_role("button", name="Try again").wait_for(timeout=10_000)
        why = failed.inner_text()
        page.keyboard.press("Shift+A")
        document = lone.submit(page)
        page.close()

    assert "404" in why
    assert document["skipped"] is False


def test_keys_zoom_an_other_image_that_has_the_keyboard(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input(companions=COMPANIONS)) as lone:
        page = lone.open(browser)
        page.get_by_role("button", name="Compare").click()
        loaded(page)
        chosen = page.locator('.cxr-findings [aria-current="true"]').inner_text()
        whole = lit(page)
        page.locator(".cxr-beside canvas").focus()
        for key in ("-", "-", "ArrowDown"):
            page.keyboard.press(key)
        page.wait_for_timeout(200)
        smaller = lit(page)
        still = page.locator('.cxr-findings [aria-current="true"]').inner_text()
        page.close()

    assert smaller < whole
    assert still == chosen


def reader(name: str, present: tuple[str, ...], **more: object) -> dict[str, Any]:
    findings = [
        {"label": n, "state": "present" if n in present else "absent", "comment": ""}
        for n in lone_page.LABELS
    ]
    plain = {"rois": [], "comment": "", "skipped": False, "reason": None}
    return {"name": name, "findings": findings} | plain | more


def disputed_task() -> dict[str, Any]:
    box = {"id": "1", "type": "rectangle", "label": "Edema", "points": [[100, 150], [180, 260]]}
    oval = {
        "id": "2", "type": "ellipse", "label": "Edema",
        "points": [[220, 300], [320, 330], [264, 335], [276, 295]],
    }  # fmt: skip
    a = reader("A", ("Edema",), rois=[box])
    a["findings"][3]["comment"] = HOSTILE
    b = reader("B", (), rois=[oval], comment="poor inspiration")
    c = reader("C", (), findings=[], skipped=True, reason="not frontal")
    return lone_page.task_input(opinions=[a, b, c], disputed=["Edema"])


def test_a_dispute_starts_with_what_is_undisputed(browser: Browser) -> None:
    with lone_page.serving(disputed_task()) as lone:
        page = lone.open(browser)
        marked = page.locator(".cxr-finding[data-disputed]").evaluate_all(
            "all => all.map((e) => e.dataset.label)"
        )
        states = page.locator(".cxr-finding").evaluate_all(
            "all => all.map((e) => [e.dataset.label, e.dataset.answer])"
        )
        chosen = page.locator('.cxr-findings [aria-current="true"]').inner_text()
        cells = row(page, "Edema").locator(".cxr-cells button").all_inner_texts()
        comment = row(page, "Edema").locator('[data-reader="A"]').get_attribute("title")
        text = page.locator(".cxr-said").inner_text()
        page.close()

    assert marked == ["Edema"]
    open_ = [label for label, state in states if state == "unanswered"]
    assert open_ == ["Edema", "No Finding"]  # which follows from it
    assert chosen.startswith("Edema")
    assert cells == ["P", "A", "⤫"]
    assert comment == f"A: Present – {HOSTILE}"
    for part in (HOSTILE, "poor inspiration", "skipped: not frontal"):
        assert part in text
    assert lone.met == []


def test_no_finding_is_in_no_dispute_and_follows_from_the_decision(browser: Browser) -> None:
    healthy = reader("A", ("No Finding",))
    ill = reader("B", ("Edema", "Fracture"))
    task = lone_page.task_input(opinions=[healthy, ill], disputed=["Edema", "Fracture"])
    with lone_page.serving(task) as lone:
        page = lone.open(browser)
        count = page.locator(".cxr-count").inner_text()
        marked = row(page, "No Finding").get_attribute("data-disputed")
        choice(page, "Edema", "absent").click()
        choice(page, "Fracture", "absent").click()
        left = page.locator(".cxr-count").inner_text()
        document = lone.submit(page)
        page.close()

    assert (count, left) == ("2 of 2 disputed left", "0 of 2 disputed left")
    assert marked is None
    assert found(document, "No Finding")["state"] == "present"


def test_a_file_that_ends_early_is_said_to_be_incomplete(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        whole = synth.draw(0, seed=3, size=(512, 448))[0]
        lone.files["/image/0"] = whole[: len(whole) // 3]
        page = browser.new_page()
        page.goto(lone.url)
        said_of_it = page.get_by_role("alert").inner_text(timeout=20_000)
        page.close()

    assert "damaged or incomplete" in said_of_it
    assert "[object" not in said_of_it


def test_time_counts_from_the_moment_the_image_is_there(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = browser.new_page()
        held: list[Route] = []
        page.route("**/image/0", lambda route: held.append(route))
        page.goto(lone.url)
        page.wait_for_timeout(1500)
        page.keyboard.press("ArrowDown")
        before = datetime.now(UTC)
        held[0].continue_()
        page.wait_for_selector('html[data-cxr-ready="1"]')
        page.keyboard.press("n")
        timing = lone.submit(page)["timing"]
        page.close()

    assert datetime.fromisoformat(timing["startedAt"]) >= before
    assert 0 < timing["activeMs"] <= timing["totalMs"] < 1500


def test_a_readers_answer_and_region_are_taken_by_click(browser: Browser) -> None:
    with lone_page.serving(disputed_task()) as lone:
        page = lone.open(browser)
        row(page, "Edema").locator('.cxr-cells [data-reader="A"]').click()
        page.locator('.cxr-said [data-action="copy-mark"]').nth(0).click()
        page.locator('.cxr-said [data-action="copy-mark"]').nth(1).click()
        page.wait_for_timeout(200)
        document = lone.submit(page)
        page.close()

    assert found(document, "Edema")["state"] == "present"
    assert document["schema"] == "cxr-annotation/1"
    kinds = {roi["type"]: roi["points"] for roi in document["rois"]}
    assert kinds["rectangle"] == [[100, 150], [180, 260]]
    ends = {(round(x), round(y)) for x, y in kinds["ellipse"]}
    assert {(220, 300), (320, 330)} <= ends
    assert len({roi["id"] for roi in document["rois"]}) == 2


def test_each_readers_regions_follow_the_image_and_can_be_hidden(browser: Browser) -> None:
    with lone_page.serving(disputed_task()) as lone:
        page = lone.open(browser)
        lines = page.locator(".cxr-marks path")
        colors = lines.evaluate_all("all => all.map((e) => e.getAttribute('stroke'))")
        before = lines.nth(0).bounding_box()
        page.locator(".cxr-stage").hover()
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(200)
        after = lines.nth(0).bounding_box()
        page.get_by_role("switch", name="Show the regions of reader A").press("Space")
        left = lines.evaluate_all("all => all.map((e) => e.getAttribute('stroke'))")
        page.close()

    assert len(set(colors)) == 2
    assert before is not None and after is not None  # noqa: PT018
    assert after["width"] > before["width"] * 1.3
    assert left == colors[1:]


def test_readers_regions_lie_where_they_would_be_drawn(browser: Browser) -> None:
    with lone_page.serving(disputed_task()) as lone:
        page = lone.open(browser)
        page.locator('.cxr-said [data-action="copy-mark"]').nth(0).click()
        page.keyboard.press("Escape")  # selected, it would have handles
        apart = []
        for key in ("t", "h", "v", "+", "Control+ArrowLeft"):
            page.keyboard.press(key)
            page.wait_for_timeout(200)
            theirs = page.locator(".cxr-marks path").first.bounding_box()
            ours = page.locator(".cxr-regions path").first.bounding_box()
            assert theirs is not None and ours is not None  # noqa: PT018
            apart += [abs(theirs[side] - ours[side]) for side in ("x", "y", "width", "height")]
        page.keyboard.press("s")
        page.wait_for_timeout(200)
        hidden = page.locator(".cxr-marks path").count()
        page.close()

    assert max(apart) <= 2.5  # pixels: the lines are not equally wide
    assert hidden == 0


def test_a_region_chosen_in_the_list_is_chosen_on_the_image(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input()) as lone:
        page = lone.open(browser)
        row(page, "Edema").locator(".cxr-name").click()
        draw(page)
        row(page, "Fracture").locator(".cxr-name").click()
        draw(page, (600, 300), 60)
        page.locator('.cxr-rois [data-roi] [aria-current="false"]').click()
        chosen = page.locator('.cxr-findings [aria-current="true"] > span').first.inner_text()
        current = page.locator('.cxr-rois [aria-current="true"] span').first.inner_text()
        page.keyboard.press("Delete")
        left = page.locator(".cxr-rois [data-roi] .cxr-name span").first.inner_text()
        page.close()

    assert (chosen, current, left) == ("Edema", "Edema", "Fracture")


def test_comments_on_findings_survive_a_page_loaded_anew(browser: Browser, tmp_path: Path) -> None:
    panel = Panel(tmp_path, images=1)
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(panel.links["ann1"])
    page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)
    row(page, "Edema").locator('[data-action="comment-finding"]').click()
    page.keyboard.type(HOSTILE)
    with page.expect_response("**/draft*"):
        page.keyboard.press("Enter")
    page.reload()
    page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)
    title = row(page, "Edema").locator('[data-action="comment-finding"]').get_attribute("title")
    page.close()
    panel.stop()

    assert title == HOSTILE


def test_nothing_is_animated_for_who_wants_no_motion(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input() | FULL) as lone:
        page = browser.new_page(reduced_motion="reduce")
        page.goto(lone.url)
        page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)
        moving = page.evaluate(
            """() => [...document.querySelectorAll('*')].map((e) => getComputedStyle(e))
                 .filter((css) => parseFloat(css.transitionDuration) > 0
                    || css.animationName !== 'none').length"""
        )
        page.close()

    assert moving == 0


PAIRS = """() => {
  const channel = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => [r, g, b].map((v) => channel(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const numbers = (css) => css.match(/[\\d.]+/g).map(Number);
  const read = (css) => [...numbers(css), 1].slice(0, 4);
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const color = read(getComputedStyle(at).backgroundColor);
      layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [0, 0, 0]);
  };
  const opacity = (e) => e ? Number(getComputedStyle(e).opacity) * opacity(e.parentElement) : 1;
  const found = [];
  for (const e of document.querySelectorAll('#cxr-root *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== '');
    const drawn = e.localName === 'svg' && !e.closest('.cxr-stage, .cxr-marks');
    if (!(own || drawn) || !e.checkVisibility() || e.closest('option')) continue;
    const under = ground(e);
    const given = read(getComputedStyle(e).color);
    const text = over([given[0], given[1], given[2], given[3] * opacity(e)], under);
    const [a, b] = [light(text), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (own ? 4.5 : 3)) found.push([ratio.toFixed(2), e.className.baseVal ?? e.className,
      e.textContent.slice(0, 30), e.closest('[data-action], [class]')?.className.toString()]);
  }
  return found;
}"""
SPILLS = """() => {
  const seen = [...document.querySelectorAll(`#cxr-root :is(button, select, textarea, input,
      crowd-button, output, .cxr-patient, .cxr-disclaimer, .cxr-count, h1, h2)`)]
      .filter((e) => e.checkVisibility());
  const clipped = (e) => {
    const box = e.getBoundingClientRect();
    const mid = [box.left + box.width / 2, box.top + box.height / 2];
    for (let at = e.parentElement; at; at = at.parentElement) {
      if (!['auto', 'scroll', 'hidden'].includes(getComputedStyle(at).overflowY)) continue;
      const walls = at.getBoundingClientRect();
      if (mid[1] < walls.top || mid[1] > walls.bottom) return true; // scrolled away
    }
    return false;
  };
  const shown = seen.filter((e) => !clipped(e));
  const outside = shown.filter((e) => {
    const b = e.getBoundingClientRect();
    return b.left < 0 || b.top < 0 || b.right > innerWidth + 0.5 || b.bottom > innerHeight + 0.5
      || (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).textOverflow !== 'ellipsis'
          && !['input', 'select'].includes(e.localName));
  });
  const overlapping = shown.filter((e) => shown.some((f) => {
    if (e === f || e.contains(f) || f.contains(e)) return false;
    const [a, b] = [e.getBoundingClientRect(), f.getBoundingClientRect()];
    return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1.5;
  }));
  const say = (e) => e.outerHTML.slice(0, 140);
  return { outside: outside.map(say), overlapping: overlapping.map(say),
    sideways: [...document.querySelectorAll(`#cxr-root, .cxr-findings, .cxr-lower, .cxr-panel,
      .cxr-header`)].filter((e) => e.scrollWidth > e.clientWidth).map(say) };
}"""


@pytest.mark.parametrize("size", SIZES, ids=["1280x720", "1920x1080"])
@pytest.mark.parametrize("decides", [False, True], ids=["reading", "dispute"])
def test_everything_has_its_place(browser: Browser, size: tuple[int, int], decides: bool) -> None:
    task = (disputed_task() if decides else lone_page.task_input()) | FULL
    with lone_page.serving(task) as lone:
        page = lone.open(browser, *size)
        row(page, "Edema").locator(".cxr-name").click()
        draw(page, (300, 250))
        page.get_by_role("button", name="Compare").click()
        loaded(page)
        met = page.evaluate(SPILLS)
        rows = page.locator(".cxr-findings").evaluate(
            "e => [e.scrollHeight <= e.clientHeight + 1, e.childElementCount]"
        )
        page.close()

    assert met == {"outside": [], "overlapping": [], "sideways": []}
    assert rows == [True, 14]


@pytest.mark.parametrize("decides", [False, True], ids=["reading", "dispute"])
def test_contrast_of_everything_written_is_aa(browser: Browser, decides: bool) -> None:
    task = (disputed_task() if decides else lone_page.task_input()) | FULL
    with lone_page.serving(task) as lone:
        page = lone.open(browser)
        fresh = page.evaluate(PAIRS)
        row(page, "Edema").locator(".cxr-name").click()
        draw(page, (300, 250))
        choice(page, "Pneumonia", "uncertain").click()
        choice(page, "Fracture", "absent").click()
        page.get_by_role("button", name="Compare").click()
        loaded(page)
        answered = page.evaluate(PAIRS)
        page.keyboard.press("n")  # excluded rows, a region without its finding, a message
        excluded = page.evaluate(PAIRS)
        page.get_by_role("button", name="Instructions").click()
        guide = page.evaluate(PAIRS)
        page.close()

    assert (fresh, answered, excluded, guide) == ([], [], [], [])


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(browser: Browser) -> None:
    with lone_page.serving(lone_page.task_input() | FULL) as lone:
        page = lone.open(browser)
        page.locator("body").evaluate("e => e.focus()")
        reached: list[str] = []
        outlined = True
        for _ in range(120):
            page.keyboard.press("Tab")
            where = page.evaluate(
                """() => {
                  const e = document.activeElement;
                  const css = getComputedStyle(e);
                  const seen = css.outlineStyle !== 'none' && parseFloat(css.outlineWidth) >= 1;
                  const name = e.getAttribute('aria-label') ?? e.textContent.trim();
                  return [`${e.localName} ${name}`, seen || e === document.body];
                }"""
            )
            if where[0] in reached[:1]:
                break
            reached.append(where[0])
            outlined = outlined and where[1]
        wanted = page.evaluate(
            """() => [...document.querySelectorAll('#cxr-root *')]
                 .filter((e) => /^(crowd-)?button$|^select$|^textarea$/.test(e.localName))
                 .filter((e) => e.checkVisibility() && e.tabIndex >= 0 && !e.disabled)
                 .map((e) => [e.localName, e.getAttribute('aria-label') ?? e.textContent.trim()])
                 .map((both) => both.join(' '))"""
        )
        page.close()

    assert sorted(set(wanted) - set(reached)) == []
    assert outlined


def test_roles_and_names_say_what_things_are(browser: Browser) -> None:
    with lone_page.serving(disputed_task() | FULL) as lone:
        page = lone.open(browser)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll(`#cxr-root :is(button, select, input, textarea,
                 dialog, [role=radiogroup], [role=toolbar], [role=switch], [role=application],
                 [role=img])`)]
                 .filter((e) => !e.closest('[hidden]'))
                 .filter((e) => !(e.getAttribute('aria-label') ?? e.textContent).trim())
                 .map((e) => e.outerHTML.slice(0, 100))"""
        )
        groups = page.get_by_role("radiogroup").count()
        lives = page.locator("[role=status], [role=alert]").count()
        toolbars = page.get_by_role("toolbar").count()
        switches = page.get_by_role("switch").count()
        page.keyboard.press("?")
        dialogs = page.get_by_role("dialog").count()
        page.close()

    assert nameless == []
    assert groups == 14
    assert lives >= 3
    assert toolbars >= 1
    assert (switches, dialogs) == (3, 1)


@pytest.mark.parametrize("shown", [{}, FULL["shown"]], ids=["nothing", "context"])
def test_the_header_reaches_from_side_to_side(browser: Browser, shown: dict[str, Any]) -> None:
    with lone_page.serving(lone_page.task_input(shown=shown)) as lone:
        page = lone.open(browser)
        last = page.locator('.cxr-header [data-action="skip"]').bounding_box()
        page.close()

    assert last is not None
    assert 1265 <= last["x"] + last["width"] <= 1280


@pytest.mark.parametrize("context", [True, False])
def test_a_full_header_fits_a_small_screen(browser: Browser, context: bool) -> None:
    full = FULL if context else FULL | {"shown": {}}
    with lone_page.serving(lone_page.task_input(jobId="j" * 63) | full) as lone:
        page = lone.open(browser)
        met = page.evaluate(
            """() => {
              const all = [...document.querySelectorAll('.cxr-header > :not(.cxr-quiet)')];
              for (const e of all) if (e.className !== 'cxr-patient') e.hidden = false;
              const place = document.querySelector('.cxr-place');
              place.textContent = 'image 1137 · answered';
              const boxes = all.map((e) => e.getBoundingClientRect()).filter((b) => b.width > 0);
              const gap = (b, i) => i === 0 ? 9 : b.left - boxes[i - 1].right;
              return [Math.max(...boxes.map((b) => b.right)),
                Math.max(...boxes.map((b) => b.bottom)),
                Math.min(...boxes.map(gap)), Math.min(...boxes.map((b) => b.width))];
            }"""
        )
        page.close()

    right, bottom, gap, narrowest = met
    assert right <= 1280
    assert bottom <= 44
    assert gap >= 8
    assert narrowest >= 30


def test_nothing_moves_when_a_finding_is_answered(browser: Browser) -> None:
    boxes = """() => [...document.querySelectorAll(`.cxr-finding, .cxr-finding button, .cxr-head *,
         .cxr-foot, .cxr-comment, .cxr-stage, .cxr-header > :not(.cxr-clock)`)]
         .map((e) => JSON.stringify(e.getBoundingClientRect()))"""
    with lone_page.serving(lone_page.task_input() | FULL) as lone:
        page = lone.open(browser)
        before = page.evaluate(boxes)
        for state in ("present", "uncertain", "absent"):
            choice(page, "Edema", state).click()
            choice(page, "Lung Opacity", "absent").click()
        page.keyboard.press("n")
        after = page.evaluate(boxes)
        page.close()

    assert after == before


def test_hostile_labels_and_comments_stay_text(browser: Browser) -> None:
    labels = [HOSTILE, '"><script>x</script>', "__proto__"]
    task = lone_page.task_input(labels=labels, noFinding=None, compatible=[], parents={})
    with lone_page.serving(task) as lone:
        page = lone.open(browser)
        page.locator(".cxr-finding").first.locator('[data-action="comment-finding"]').click()
        page.keyboard.type(HOSTILE)
        page.keyboard.press("Escape")
        names = page.locator(".cxr-findings .cxr-name > span:first-child").all_inner_texts()
        page.keyboard.press("Shift+A")
        document = lone.submit(page)
        page.close()

    assert names == labels
    assert document["findings"][0]["comment"] == HOSTILE
    assert document["findings"][2] == {"label": "__proto__", "state": "absent", "comment": ""}
    assert lone.met == []
