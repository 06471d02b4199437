"""Everything one does to the image on the worker page, with a real mouse and real keys."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser
from shapely import LineString, Point, Polygon
from worker_page import COLUMNS, ROWS, Room, room

from cxr.contract import manifest
from cxr.labeling import Page as Offered

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ORIENTED = {"PatientOrientation": ["L", "F"]}


def near(met: list[list[float]], expected: list[tuple[float, float]]) -> bool:
    return len(met) == len(expected) and bool(np.abs(np.subtract(met, expected)).max() <= 0.5)


def by_type(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {roi["type"]: roi for roi in document["rois"]}


def shown(opened: Room, selector: str) -> bool:
    return opened.page.locator(selector).is_visible()


@pytest.mark.parametrize(
    ("keys", "view", "turns", "spacing"),
    [
        ("", {}, 0, {}),
        ("t", {"rotation": 90}, 2, {"PixelSpacing": [0.2, 0.1]}),
        ("h", {"flip_h": True}, 3, {"ImagerPixelSpacing": [0.1, 0.25]}),
        ("tv", {"rotation": 90, "flip_h": True}, 0, {"PixelSpacing": [0.1, 0.15]}),
        ("Tvh", {"rotation": 270, "flip_h": True, "flip_v": True}, 4, {}),
        ("tth", {"rotation": 180, "flip_h": True}, -1, {"PixelSpacing": [0.3, 0.2]}),
    ],
)
def test_exported_points_are_the_drawn_ones(
    browser: Browser,
    tmp_path: Path,
    keys: str,
    view: dict[str, Any],
    turns: int,
    spacing: dict[str, Any],
) -> None:
    with room(browser, tmp_path, **spacing) as opened:
        page = opened.page
        for key in keys:
            page.keyboard.press("Shift+T" if key == "T" else key)
        opened.see(**view)
        opened.wheel((200, 150), turns)
        page.keyboard.press("b")
        rectangle = opened.drag((170, 130), (210, 165))
        page.keyboard.press("e")
        (cx, cy), (rx, ry) = opened.drag((226, 140), (250, 152))
        page.keyboard.press("g")
        polygon = opened.click((150, 150), (165, 140), (172, 160), (160, 170), (150, 150))[:4]
        page.keyboard.press("l")
        length = opened.drag((180, 175), (230, 125))
        document = opened.submit()

    rois = by_type(document)
    dx, dy = abs(rx - cx), abs(ry - cy)
    assert near(sorted(rois["rectangle"]["points"]), sorted(corner_points(rectangle)))
    assert near(
        sorted(rois["ellipse"]["points"]),
        sorted([(cx - dx, cy), (cx + dx, cy), (cx, cy - dy), (cx, cy + dy)]),
    )
    assert near(sorted(rois["polygon"]["points"]), sorted(polygon))
    assert near(rois["length"]["points"], length)
    facts = {"rotation": 0, "flip_h": False, "flip_v": False} | view
    met = document["view"]
    assert (met["rotation"], met["flipH"], met["flipV"]) == tuple(facts.values())


def corner_points(drawn: list[tuple[float, float]]) -> list[tuple[float, float]]:
    xs, ys = zip(*drawn, strict=True)
    return [(min(xs), min(ys)), (max(xs), max(ys))]


def test_one_to_one_is_a_screen_pixel_for_an_image_pixel(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        page = opened.page
        fitted = opened.readout()[2]
        page.keyboard.press("o")
        one = opened.readout()[2]
        page.keyboard.press("b")
        page.mouse.move(400, 300)
        page.mouse.down()
        page.mouse.move(461, 342, steps=4)
        page.mouse.up()
        page.keyboard.press("0")
        again = opened.readout()[2]
        (a, b) = by_type(opened.submit())["rectangle"]["points"]

    assert (one, again) == ("100", fitted)
    assert (b[0] - a[0], b[1] - a[1]) == pytest.approx((61, 42), abs=0.02)


@pytest.mark.parametrize("density", [1.25, 2])
def test_dense_screens_change_nothing_but_the_zoom(
    browser: Browser, tmp_path: Path, density: float
) -> None:
    with room(browser, tmp_path, density=density, PixelSpacing=[0.2, 0.15]) as opened:
        page = opened.page
        page.keyboard.press("Shift+T")
        opened.see(rotation=270)
        opened.closer()
        page.keyboard.press("b")
        drawn = opened.drag((170, 130), (230, 165))
        page.keyboard.press("r")
        page.keyboard.press("o")
        page.keyboard.press("e")
        page.mouse.move(400, 300)
        page.mouse.down()
        page.mouse.move(440, 320, steps=4)
        page.mouse.up()
        rois = by_type(opened.submit())

    assert near(rois["rectangle"]["points"], corner_points(drawn))
    xs, ys = zip(*rois["ellipse"]["points"], strict=True)
    # the smaller side of a pixel is one of the screen's; the other keeps millimetres square
    assert max(xs) - min(xs) == pytest.approx(80 * density, abs=0.1)
    assert max(ys) - min(ys) == pytest.approx(40 * density / (0.2 / 0.15), abs=0.1)


def test_a_flipped_display_says_so_and_the_sides_follow(browser: Browser, tmp_path: Path) -> None:
    def sides() -> str:
        found = opened.page.locator(".cxr-edge")
        texts = found.evaluate_all("all => all.map((e) => [e.dataset.edge, e.textContent])")
        letters = dict(texts)
        return "".join(letters[side] for side in ("left", "top", "right", "bottom"))

    with room(browser, tmp_path, **ORIENTED) as opened:
        press = opened.page.keyboard.press
        met = [(sides(), shown(opened, ".cxr-flipped"))]
        for key in ("t", "h", "r", "v", "Shift+T"):
            press(key)
            met.append((sides(), shown(opened, ".cxr-flipped")))
        view = opened.submit()["view"]

    assert met == [
        ("RHLF", False), ("FRHL", False), ("HRFL", True), ("RHLF", False), ("RFLH", True),
        ("FLHR", True),
    ]  # fmt: skip
    assert (view["rotation"], view["flipV"]) == (270, True)


def test_a_file_without_an_orientation_has_no_sides(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        edges = opened.page.locator(".cxr-edge").all_inner_texts()

    assert sorted(edges) == ["", "", "?", "?"]


def test_twins_of_both_photometric_interpretations_look_the_same(
    browser: Browser, tmp_path: Path
) -> None:
    y, x = np.mgrid[:ROWS, :COLUMNS]
    values = (7 * x + 13 * y) % 4096
    twins = {
        "MONOCHROME2": {"PixelData": values.astype("<u2").tobytes()},
        "MONOCHROME1": {"PixelData": (4095 - values).astype("<u2").tobytes()},
    }
    pictures = []
    for name, changes in twins.items():
        # LINEAR counts from c - 0.5: the twin's window mirrors about 2047.5
        window = {"WindowCenter": 1500 if name == "MONOCHROME2" else 2596, "WindowWidth": 2000}
        header = {"PhotometricInterpretation": name} | changes | window
        with room(browser, tmp_path / name, **header) as opened:
            for key in ("t", "3", "Shift+ArrowDown", "Alt+ArrowLeft"):
                opened.page.keyboard.press(key)
            opened.page.wait_for_timeout(200)
            canvas = opened.page.locator(".cxr-stage canvas").first
            png = canvas.evaluate("(canvas) => canvas.toDataURL().split(',')[1]")
            with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
                pictures.append(np.array(picture.convert("RGBA"), int))

    assert np.abs(pictures[0] - pictures[1]).max() <= 2
    assert len(np.unique(pictures[0])) > 50


def test_windows_follow_keys_in_coarse_and_fine_steps(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        met = [opened.readout()[:2]]
        for key in ("Shift+ArrowRight", "Alt+ArrowRight", "Shift+ArrowUp", "Alt+ArrowDown", "r"):
            press(key)
            met.append(opened.readout()[:2])
        state = opened.state("Edema")

    numbers = [(int(w), int(c)) for w, c in met]
    assert [w for w, _ in numbers] == pytest.approx([4096, 4301, 4321, 4321, 4321, 4096], abs=2)
    assert [c for _, c in numbers] == pytest.approx([2048, 2048, 2048, 1843, 1864, 2048], abs=2)
    assert state == "unanswered"


def test_a_job_adds_windows_with_keys_and_buttons(browser: Browser, tmp_path: Path) -> None:
    offered = Offered(windows={"tube": (600.0, 800.0), "<b>air</b>": (100.0, 50.5)})
    with room(browser, tmp_path, offered, RescaleSlope=1, RescaleIntercept=0) as opened:
        opened.page.keyboard.press("6")
        by_key = opened.readout()[:2]
        opened.page.locator(".cxr-windows button").nth(6).click()
        names = opened.page.locator(".cxr-windows [data-window]").all_inner_texts()
        view = opened.submit()["view"]

    assert by_key == ["800", "600"]
    assert [re.sub(r"\s+", "", name) for name in names] == ["6tube", "7<b>air</b>"]
    assert view["window"] == pytest.approx([100, 50.5], abs=0.02)


@pytest.mark.parametrize(
    ("spacing", "length", "area"),
    [
        ({"PixelSpacing": [0.4, 0.3]}, "60.0 mm", "24.0 cm²"),
        ({"ImagerPixelSpacing": [0.4, 0.3]}, "60.0 mm (detector)", "24.0 cm² (detector)"),
        ({}, "165 px", "20000 px²"),
    ],
)
def test_lengths_and_areas_are_of_the_file_s_spacing(
    browser: Browser, tmp_path: Path, spacing: dict[str, Any], length: str, area: str
) -> None:
    """160 columns and 90 rows by 0.3 and 0.4 mm are 48 and 36 mm: 60 mm across."""
    across = ((100, 100), (260, 190)) if spacing else ((100, 100), (232, 199))
    with room(browser, tmp_path, **spacing) as opened:
        opened.page.keyboard.press("l")
        drawn = opened.drag(*across)
        opened.page.keyboard.press("b")
        box = opened.drag((100, 200), (300, 300))
        met = opened.tags()

    pairs = list(zip([length, area], met, strict=True))
    row, column = opened.spacing
    (ax, ay), (bx, by) = drawn
    (cx, cy), (dx, dy) = box
    exact = [
        float(np.hypot((bx - ax) * column, (by - ay) * row)),
        abs((dx - cx) * column * (dy - cy) * row) / (100 if spacing else 1),
    ]
    for (says, tag), true in zip(pairs, exact, strict=True):
        number, unit = re.fullmatch(r"Edema\s+([\d.]+) (.+)", tag).groups()  # type: ignore[union-attr]
        assert unit == says.partition(" ")[2]
        assert float(number) == pytest.approx(true, rel=0.006)
        assert float(number) == pytest.approx(float(says.split()[0]), rel=0.02)


def test_probe_tells_place_and_value_and_leaves_nothing(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path, RescaleSlope=2, RescaleIntercept=-10) as opened:
        opened.page.keyboard.press("q")
        x, y = opened.move((123.5, 77.5))
        text = opened.page.locator(".cxr-probe").inner_text()
        opened.page.mouse.down()
        opened.page.mouse.up()
        opened.page.keyboard.press("w")
        opened.move((130, 80))
        still = shown(opened, ".cxr-probe")
        state = opened.state("Edema")
        document = opened.submit()

    stored = (7 * int(x) + 13 * int(y)) % 4096
    assert text.split() == [
        "x", str(int(x)), "y", str(int(y)), "value", str(2 * stored - 10), "stored", str(stored),
    ]  # fmt: skip
    assert not still
    assert state == "unanswered"
    assert document["rois"] == []


def test_a_length_may_belong_to_an_absent_finding(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        opened.choose("No Finding")
        opened.page.keyboard.press("n")
        opened.choose("Edema")
        opened.page.keyboard.press("l")
        opened.drag((100, 100), (200, 200))
        asked = opened.page.locator(".cxr-message button").count()
        document = opened.submit()

    assert asked == 0
    assert [(roi["type"], roi["label"]) for roi in document["rois"]] == [("length", "Edema")]
    assert {f["label"]: f["state"] for f in document["findings"]}["Edema"] == "absent"


def test_freehand_becomes_a_polygon_of_few_points(browser: Browser, tmp_path: Path) -> None:
    path = []
    with room(browser, tmp_path) as opened:
        opened.page.keyboard.press("f")
        for i in range(300):
            angle = 2 * np.pi * i / 300
            point = (240 + 90 * np.cos(angle), 180 + 60 * np.sin(angle) + 6 * np.sin(5 * angle))
            path.append(opened.move(point, steps=1))
            if i == 0:
                opened.page.mouse.down()
        opened.page.mouse.up()
        (roi,) = opened.submit()["rois"]

    outline = LineString([*roi["points"], roi["points"][0]])
    assert roi["type"] == "polygon"
    assert 10 < len(roi["points"]) < 100
    assert max(outline.distance(Point(met)) for met in path) <= 0.5 + 0.02
    assert all(round(value, 2) == value for point in roi["points"] for value in point)
    assert Polygon(roi["points"]).area == pytest.approx(Polygon(path).area, rel=0.01)


def test_regions_are_moved_and_reshaped_however_they_lie(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        press("b")
        (left, top), (right, bottom) = opened.drag((100, 100), (160, 140))
        press("e")
        (cx, cy), (rx, ry) = opened.drag((300, 200), (340, 220))
        press("t")
        press("w")
        opened.see(rotation=90)
        opened.click((left, bottom))  # selects: only what is selected can be moved
        began, ended = opened.drag((right, bottom), (190, 170))  # a corner
        taken, put = opened.drag((right + 10, top), (right + 10, 60))  # an edge
        opened.click((cx + (rx - cx), cy))
        grown, far = opened.drag((cx + (rx - cx), cy), (370, 205))  # the end of an axis
        document = opened.submit()

    rois = by_type(document)
    by = put[0] - taken[0], put[1] - taken[1]
    corner = right + ended[0] - began[0], bottom + ended[1] - began[1]
    assert near(
        rois["rectangle"]["points"],
        [(left + by[0], top + by[1]), (ended[0] + by[0], ended[1] + by[1])],
    )
    assert abs(corner[0] - ended[0]) < 1
    half = far[0] - cx
    assert near(
        rois["ellipse"]["points"],
        [(cx - half, cy), (cx + half, cy), (cx, cy - (ry - cy)), (cx, cy + (ry - cy))],
    )
    assert abs(grown[0] - rx) < 1


@pytest.mark.parametrize("tool", ["w", "m", "z", "q"])
def test_a_view_tool_moves_no_region_that_is_not_selected(
    browser: Browser, tmp_path: Path, tool: str
) -> None:
    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        press("b")
        drawn = opened.drag((100, 100), (160, 140))
        before = opened.readout()
        press(tool)
        opened.drag((160, 140), (190, 170))  # from a corner of the region just drawn
        after = opened.readout()
        (roi,) = opened.submit()["rois"]

    assert near(roi["points"], corner_points(drawn))
    assert (before == after) == (tool in "mq")  # the tool did what it is for


def test_a_drawing_tool_draws_over_a_region_and_selects_it_by_a_click(
    browser: Browser, tmp_path: Path
) -> None:
    with room(browser, tmp_path) as opened:
        selected = opened.page.locator('.cxr-rois [aria-current="true"]')
        opened.page.keyboard.press("b")
        first = opened.drag((100, 100), (160, 140))
        opened.page.keyboard.press("Escape")
        second = opened.drag((160, 120), (220, 180))  # begins on the line of the first
        opened.page.keyboard.press("Escape")
        none = selected.count()
        opened.click((130, 100))
        one = selected.count()
        held, left = opened.drag((130, 100), (130, 90))
        rois = opened.submit()["rois"]

    by = left[1] - held[1]
    moved = [(x, y + by) for x, y in corner_points(first)]
    assert (none, one) == (0, 1)
    assert near(rois[0]["points"], moved)
    assert near(rois[1]["points"], corner_points(second))


def test_regions_are_deleted_undone_and_cancelled(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        lines = opened.page.locator(".cxr-regions .cxr-line")
        counts = []
        press("b")
        opened.drag((100, 100), (160, 140))
        counts.append(lines.count())
        press("Delete")
        counts.append(lines.count())
        press("Control+z")
        counts.append(lines.count())
        press("Control+Shift+Z")
        counts.append(lines.count())
        press("g")
        opened.click((100, 100), (150, 100), (150, 150))
        press("Delete")  # takes back a vertex
        opened.click((200, 200))
        press("Escape")
        counts.append(lines.count())
        press("Control+Enter")
        document = opened.submit()

    assert counts == [1, 0, 1, 0, 0]
    assert document["rois"] == []


def test_a_region_goes_to_another_finding_and_asks_if_that_is_absent(
    browser: Browser, tmp_path: Path
) -> None:
    def says() -> str:
        return opened.page.locator(".cxr-message").inner_text()

    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        opened.choose("Edema")
        press("b")
        opened.drag((100, 100), (160, 140))
        opened.choose("Pneumothorax")
        press("a")
        opened.choose("Pneumothorax")
        press("d")
        asked = says()
        opened.page.get_by_role("button", name="Leave it with Edema").click()
        back = opened.tags()[0].split()[0]
        press(".")
        opened.choose("No Finding")
        press("d")
        refused = says()
        opened.choose("Pneumothorax")
        press("d")
        opened.page.get_by_role("button", name="Set uncertain").click()
        (roi,) = opened.submit()["rois"]

    assert "Pneumothorax is marked absent" in asked
    assert back == "Edema"
    assert "No Finding has no region" in refused
    assert (roi["label"], roi["state"]) == ("Pneumothorax", "uncertain")


def test_the_owner_of_a_region_is_chosen_once_and_the_keys_go_on(
    browser: Browser, tmp_path: Path
) -> None:
    def states() -> list[str | None]:
        return [opened.state(label) for label in ("Edema", "Pneumothorax", "Support Devices")]

    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        opened.choose("Edema")
        press("b")
        opened.drag((100, 100), (160, 140))
        opened.page.locator('[data-action="rebind-roi"]').focus()
        press("Enter")
        press("ArrowDown")
        press("s")  # to the one that begins with it, and no hotkey
        walked = states(), opened.tags()[0].split()[0]
        press("ArrowUp")
        press("Enter")
        menus = opened.page.get_by_role("menu").count()
        moved = states(), opened.tags()[0].split()[0]
        says = opened.page.locator(".cxr-message").inner_text()
        press("u")
        said = states()
        press("Control+z")
        press("Control+z")
        undone = states(), opened.tags()[0].split()[0]
        document = opened.submit()

    assert walked == (["present", "unanswered", "unanswered"], "Edema")
    assert moved == (["unanswered", "present", "unanswered"], "Pneumothorax")
    assert "Edema is unanswered again" in says
    assert menus == 0
    assert said[1] == "uncertain"
    assert undone == (["present", "unanswered", "unanswered"], "Edema")
    assert document["rois"][0]["label"] == "Edema"


def test_a_region_that_goes_leaves_the_reader_s_own_answer(
    browser: Browser, tmp_path: Path
) -> None:
    with room(browser, tmp_path) as opened:
        opened.choose("Edema")
        opened.page.keyboard.press("p")
        opened.choose("Edema")
        opened.page.keyboard.press("b")
        opened.drag((100, 100), (160, 140))
        opened.page.locator('[data-action="rebind-roi"]').click()
        opened.page.get_by_role("menuitemradio", name="Support Devices").click()
        moved = opened.state("Edema"), opened.state("Support Devices")
        opened.page.locator('[data-action="rebind-roi"]').click()
        opened.page.keyboard.press("Escape")
        closed = opened.page.get_by_role("menu").count()

    assert moved == ("present", "present")
    assert closed == 0


def test_a_polygon_is_closed_by_enter_and_kept_when_another_tool_is_taken(
    browser: Browser, tmp_path: Path
) -> None:
    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        hint = opened.page.locator(".cxr-hint")
        opened.choose("Edema")
        press("g")
        opened.click((100, 100), (160, 100))
        begun = hint.inner_text()
        press("Enter")  # two vertices are none
        early = opened.page.locator(".cxr-rois li[data-roi]").count()
        opened.click((160, 160))
        closing = hint.inner_text()
        press("Enter")
        done = opened.page.locator(".cxr-rois li[data-roi]").count(), hint.inner_text()
        opened.click((250, 100), (300, 100), (300, 160))
        press("e")
        kept = opened.page.locator(".cxr-rois li[data-roi]").count()
        press("g")
        opened.click((50, 200), (60, 200))
        press("w")
        says = opened.page.locator(".cxr-message").inner_text()
        press("?")
        table = opened.page.locator(".cxr-keys").all_inner_texts()
        press("Escape")
        document = opened.submit()

    assert (early, done, kept) == (0, (1, ""), 2)
    assert "click each corner" in begun
    assert "Enter, a double click" in closing
    assert "The polygon is dropped" in says
    assert any("Close the polygon" in rows for rows in table)
    assert [len(roi["points"]) for roi in document["rois"]] == [3, 3]


def test_hidden_regions_come_back_when_one_draws(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press
        lines = opened.page.locator(".cxr-regions .cxr-line")
        press("b")
        opened.drag((100, 100), (160, 140))
        press("s")
        hidden = lines.count(), len(opened.tags()), shown(opened, ".cxr-hidden")
        pressed = opened.page.locator('[data-action="overlays"]').get_attribute("aria-pressed")
        opened.drag((200, 200), (260, 240))
        back = lines.count(), len(opened.tags()), shown(opened, ".cxr-hidden")
        document = opened.submit()

    assert (hidden, pressed) == ((0, 0, True), "false")
    assert back == (2, 2, False)
    assert len(document["rois"]) == 2


def test_a_key_right_after_a_dialog_is_the_page_s(browser: Browser, tmp_path: Path) -> None:
    """Until the next frame the keyboard is on a button of the dialog that was closed."""
    with room(browser, tmp_path, Offered(keys={"submit": "space"})) as opened:
        opened.page.keyboard.press("Shift+A")
        opened.page.keyboard.press("?")
        on, taken = opened.page.evaluate(
            """() => {
              const dialog = document.querySelector('dialog[open]');
              dialog.querySelector('button').focus();
              dialog.close();
              const on = document.activeElement;
              const press = { key: ' ', bubbles: true, cancelable: true };
              return [on.dataset.action, !on.dispatchEvent(new KeyboardEvent('keydown', press))];
            }"""
        )
        opened.page.get_by_role("heading", name="All images are labelled").wait_for(timeout=10_000)

    assert (on, taken) == ("close", True)


def test_keys_and_buttons_of_the_mouse_are_the_job_s(browser: Browser, tmp_path: Path) -> None:
    offered = Offered(
        keys={"present": "j", "tool-length": "ctrl+l", "submit": "space"},
        mouse={"left": "pan", "right": "tool", "middle": "window"},
    )
    with room(browser, tmp_path, offered) as opened:
        page = opened.page
        page.keyboard.press("p")
        page.keyboard.press("l")
        untouched = opened.state("Edema"), page.locator('[aria-pressed="true"][data-tool]')
        tool_before = untouched[1].get_attribute("data-tool")
        page.keyboard.press("j")
        answered = opened.state("Edema")
        page.keyboard.press("Control+l")
        opened.choose("Edema")
        start = opened.move((100, 100))
        page.mouse.down(button="right")
        end = opened.move((200, 150))
        page.mouse.up(button="right")
        before = opened.readout()[0]
        opened.move((240, 200))
        page.mouse.down(button="middle")
        opened.move((300, 200))
        page.mouse.up(button="middle")
        wider = int(opened.readout()[0]) > int(before)
        page.keyboard.press("?")
        rows = page.locator(".cxr-keys div").all_inner_texts()
        mouse = page.locator(".cxr-dialog .cxr-text").first.inner_text()
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog[open]", state="detached")  # keys are the dialog's till then
        page.keyboard.press("Shift+A")
        page.keyboard.press("Space")
        page.get_by_role("heading", name="All images are labelled").wait_for(timeout=10_000)
        (line,) = manifest.read(opened.backend.collect(opened.job))
        found = manifest.labelled(line)

    assert found is not None
    kinds, ends = [roi["type"] for roi in found.rois], found.rois[0]["points"]
    table = {text.split("\n")[1]: text.split("\n")[0] for text in rows if "\n" in text}
    assert (untouched[0], tool_before, answered) == ("unanswered", "window", "present")
    assert wider
    assert table["Present, then the next finding"] == "J"
    assert table["Length"] == "Ctrl+L"
    assert table["Submit"] == "Space"
    assert mouse.startswith("Mouse: left button: pan, middle button: window, right button: the")
    assert kinds == ["length"]
    assert near(ends, [start, end])


def test_keys_are_letters_while_one_types(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path, Offered(keys={"submit": "space"})) as opened:
        page = opened.page
        page.keyboard.press("c")
        page.keyboard.type("pan a h?")
        typed = page.locator(".cxr-comment").input_value()
        state = opened.state("Edema")
        flipped = shown(opened, ".cxr-flipped")
        opened.move((100, 100))
        page.mouse.down()
        page.mouse.up()
        page.keyboard.press("h")  # the image has the keyboard again
        again = shown(opened, ".cxr-flipped")

    assert (typed, state, flipped, again) == ("pan a h?", "unanswered", False, True)


def test_tools_that_a_job_does_not_name_are_not_there(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path, Offered(tools=("rectangle", "zoom", "undo"))) as opened:
        page = opened.page
        page.keyboard.press("h")
        page.keyboard.press("e")
        buttons = page.locator(".cxr-toolbar button")
        names = buttons.evaluate_all("all => all.map((e) => e.dataset.tool ?? e.dataset.action)")
        opened.drag((100, 100), (160, 140))
        flipped = shown(opened, ".cxr-flipped")
        presets = page.locator(".cxr-windows button").count()
        kinds = [roi["type"] for roi in opened.submit()["rois"]]

    assert names == ["zoom", "rectangle", "undo"]
    assert not flipped
    assert presets == 0
    assert kinds == []  # the zoom tool came first: nothing was drawn


def test_the_toolbar_fits_and_every_button_says_its_key(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        buttons = opened.page.locator(".cxr-toolbar button")
        boxes = buttons.evaluate_all(
            "all => all.map((e) => { const b = e.getBoundingClientRect();"
            " return [b.width, b.height, b.bottom]; })"
        )
        labels = [one.get_attribute("aria-label") for one in buttons.all()]

    assert len(boxes) == 20
    assert all(width >= 32 and height >= 32 and bottom <= 720 for width, height, bottom in boxes)
    assert all(label is not None and re.search(r"\(.+\)$", label) for label in labels)


def test_buttons_of_the_toolbar_do_what_their_keys_do(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path, **ORIENTED) as opened:
        click = lambda name: opened.page.locator(f'[data-action="{name}"]').click()  # noqa: E731
        for name in ("rotate-right", "flip-h", "flip-v", "rotate-left", "rotate-left", "invert"):
            click(name)
        for name in ("one-to-one", "fit", "overlays", "overlays"):
            click(name)
        opened.page.locator('[data-tool="rectangle"]').click()
        opened.drag((100, 100), (160, 140))
        click("undo")
        click("redo")
        document = opened.submit()

    view = document["view"]
    # at a quarter turn the image's own axes lie the other way
    assert (view["rotation"], view["flipH"], view["flipV"], view["invert"]) == (
        270,
        True,
        True,
        True,
    )
    assert len(document["rois"]) == 1


def test_regions_are_drawn_and_moved_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    with room(browser, tmp_path) as opened:
        press = opened.page.keyboard.press

        def walk(**steps: int) -> None:
            for way, count in steps.items():
                for _ in range(count):
                    press(f"Arrow{way}")

        press("b")
        for _ in range(80):
            press("Tab")
            if opened.page.evaluate("document.activeElement.classList.contains('cxr-stage')"):
                break
        box = opened.page.locator(".cxr-stage").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        press("Enter")
        walk(Right=10, Down=5)
        press("Enter")
        state = opened.state("Edema")
        press("Enter")  # takes the corner
        walk(Up=2)
        press("Enter")
        focused = opened.page.locator(".cxr-stage:focus-visible").count()
        (roi,) = opened.submit()["rois"]

    drawn = [opened.under((x, y)), opened.under((x + 80, y + 24))]  # type: ignore[arg-type]
    assert (state, focused) == ("present", 1)
    assert near(roi["points"], corner_points(drawn))


def test_arrows_choose_findings_after_the_mouse_was_on_the_image(
    browser: Browser, tmp_path: Path
) -> None:
    with room(browser, tmp_path) as opened:
        opened.click((100, 100))
        opened.page.keyboard.press("ArrowDown")
        opened.page.keyboard.press("p")
        states = opened.state("Edema"), opened.state("Pneumothorax")

    assert states == ("unanswered", "present")
