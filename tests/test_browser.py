"""The worker page in a real browser: mouse, keys, and what reaches the output manifest."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import specimens
from playwright.sync_api import Browser, Page
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless
from sites import let_go

from cxr.contract import manifest
from cxr.contract.labels import LabelSet
from cxr.contract.signing import keys_from_text, new_keys
from cxr.images import dicom, synth
from cxr.labeling import Job, Reader, selection
from cxr.labeling.local import LocalLabeling
from cxr.pacs.folder import FolderPacs

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROWS, COLUMNS = 512, 448
LABELS = LabelSet(
    "few",
    ("Edema", "Lung Opacity", "Pneumothorax", "Support Devices", "No Finding"),
    no_finding="No Finding",
    compatible=("Support Devices",),
    parents={"Lung Opacity": ("Edema",)},
)


@dataclass
class Portal:
    job: Job
    backend: LocalLabeling
    pacs: FolderPacs
    met: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.backend.status(self.job).url

    def output(self) -> list[manifest.Labelled]:
        lines = manifest.read(self.backend.collect(self.job))
        return [found for line in lines if (found := manifest.labelled(line)) is not None]


def serve(
    folder: Path, *, images: int = 1, names: LabelSet = LABELS, file: bytes | None = None
) -> Portal:
    pacs = FolderPacs(folder / "pacs")
    for index in range(images):
        pacs.store(file or synth.draw(index, seed=3, size=(ROWS, COLUMNS))[0])
    job = Job("page", folder / "jobs" / "page", names, (Reader("reader"),))
    selected = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=names)
    backend = LocalLabeling(pacs=pacs, keys=keys_from_text(new_keys()), port=0)
    backend.start(job, selected.path)
    return Portal(job, backend, pacs)


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    served = serve(tmp_path)
    yield served
    let_go(served.backend.close)


def opened(browser: Browser, portal: Portal, url: str = "") -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.on("request", lambda request: portal.met.append(request.url))
    page.on("pageerror", lambda error: portal.met.append(f"error: {error}"))
    page.goto(url or portal.url)
    ready(page)
    return page


def ready(page: Page) -> None:
    page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)


Point = tuple[float, float]


def fitted(page: Page) -> tuple[float, float, float]:
    """Scale, left and top of the image on the screen: fitted, centred, aspect kept."""
    box = page.locator(".cxr-stage").bounding_box()
    assert box is not None
    scale = min(box["width"] / COLUMNS, box["height"] / ROWS)
    left = box["x"] + (box["width"] - scale * COLUMNS) / 2
    return scale, left, box["y"] + (box["height"] - scale * ROWS) / 2


def move(page: Page, point: Point, steps: int = 4) -> Point:
    """Move the mouse near an image point; gives the point it really is over.

    A mouse rests on whole pixels of the screen.
    """
    scale, left, top = fitted(page)
    x, y = round(left + scale * point[0]), round(top + scale * point[1])
    page.mouse.move(x, y, steps=steps)
    return (x - left) / scale, (y - top) / scale


def drag(page: Page, start: Point, end: Point) -> list[Point]:
    began = move(page, start)
    page.mouse.down()
    move(page, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    ended = move(page, end)
    page.mouse.up()
    page.wait_for_timeout(200)
    return [began, ended]


def submit(page: Page) -> None:
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/task", timeout=10_000)
    page.get_by_role("heading", name="All images are labelled").wait_for(timeout=10_000)


def near(met: list[list[float]], expected: list[Point]) -> bool:
    return len(met) == len(expected) and all(
        abs(a - x) <= 0.5 and abs(b - y) <= 0.5
        for (a, b), (x, y) in zip(met, expected, strict=True)
    )


def ellipse_ends(centre: Point, rim: Point) -> list[Point]:
    """Ends of the major, then of the minor axis (PS3.3 C.18.6.1.2) of one wider than high."""
    (x, y), (dx, dy) = centre, (rim[0] - centre[0], rim[1] - centre[1])
    return [(x - dx, y), (x + dx, y), (x, y - dy), (x, y + dy)]


def test_regions_drawn_with_the_mouse_reach_the_output_manifest(
    browser: Browser, portal: Portal
) -> None:
    page = opened(browser, portal)
    page.locator('[data-label="Edema"] .cxr-name').click()
    page.keyboard.press("b")
    rectangle = drag(page, (100, 150), (180, 260))
    page.keyboard.press("e")
    centre, rim = drag(page, (250, 300), (330, 340))
    page.locator('[data-label="Lung Opacity"] .cxr-name').click()
    page.keyboard.press("g")
    polygon = []
    for corner in ((60, 60), (120, 60), (120, 110), (70, 120), (60, 60)):
        polygon.append(move(page, corner))
        page.mouse.down()
        page.mouse.up()
        # Cornerstone holds a click back until the mouse moves on
        move(page, (corner[0] + 12, corner[1] + 12))
        page.wait_for_timeout(450)
    page.keyboard.press("Shift+A")
    submit(page)
    page.close()

    (found,) = portal.output()
    rois = {roi["type"]: roi for roi in found.rois}
    assert [str(state) for state in found.states.values()] == [
        "present", "present", "absent", "absent", "absent",
    ]  # fmt: skip
    assert {kind: roi["label"] for kind, roi in rois.items()} == {
        "rectangle": "Edema", "ellipse": "Edema", "polygon": "Lung Opacity",
    }  # fmt: skip
    assert near(sorted(rois["rectangle"]["points"]), rectangle)
    assert near(rois["polygon"]["points"], polygon[:4])
    assert near(rois["ellipse"]["points"], ellipse_ends(centre, rim))
    assert rois["rectangle"]["workerId"] == "reader"


def test_keys_answer_findings_and_move_on(browser: Browser, portal: Portal) -> None:
    page = opened(browser, portal)
    page.locator('[data-label="Edema"] .cxr-name').click()
    for key in ("p", "u", "a", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    page.keyboard.press("p")  # Support Devices, which No Finding does not exclude
    submit(page)
    page.close()

    (found,) = portal.output()
    assert {name: str(state) for name, state in found.states.items()} == {
        "Edema": "present",
        "Lung Opacity": "uncertain",
        "Pneumothorax": "absent",
        "Support Devices": "present",
        "No Finding": "absent",
    }


def test_n_says_no_finding_and_the_rest_absent(browser: Browser, portal: Portal) -> None:
    page = opened(browser, portal)
    page.keyboard.press("n")
    submit(page)
    page.close()

    (found,) = portal.output()
    assert str(found.states["No Finding"]) == "present"
    assert str(found.states["Edema"]) == "absent"


def test_submit_waits_for_every_finding(browser: Browser, portal: Portal) -> None:
    page = opened(browser, portal)
    page.locator('[data-label="Edema"] [data-state="present"]').click()

    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(500)

    assert page.locator('html[data-cxr-ready="1"]').count() == 1
    assert portal.backend.status(portal.job).labelled == 0
    assert "Lung Opacity" in page.locator(".cxr-message").inner_text()
    page.close()


def test_child_without_its_parent_is_a_warning_on_page_and_in_manifest(
    browser: Browser, portal: Portal
) -> None:
    page = opened(browser, portal)
    page.locator('[data-label="Edema"] [data-state="present"]').click()
    page.locator('[data-label="Lung Opacity"] [data-state="absent"]').click()
    page.keyboard.press("Shift+A")
    assert page.locator("[data-label][data-warning]").count() >= 1
    submit(page)
    page.close()

    (found,) = portal.output()
    assert found.document["warnings"] == ["Edema is present but its parent Lung Opacity is absent"]


def test_image_is_skipped_with_a_reason(browser: Browser, portal: Portal) -> None:
    page = opened(browser, portal)
    page.get_by_role("button", name="Skip").click()
    page.locator('[data-skip="reason"]').first.click()
    reason = page.locator('[data-skip="reason"]').first
    if reason.evaluate("e => e.tagName") == "SELECT":
        reason.select_option(index=1)
    page.locator('[data-action="confirm-skip"]').click()
    page.get_by_role("heading", name="All images are labelled").wait_for(timeout=10_000)
    page.close()

    (found,) = portal.output()
    assert not found.usable
    assert found.document["reasons"]


def test_page_asks_only_its_own_origin_and_its_policy_is_strict(
    browser: Browser, portal: Portal
) -> None:
    page = browser.new_page()
    page.on("request", lambda request: portal.met.append(request.url))
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    response = page.goto(portal.url)
    ready(page)
    page.close()

    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "'unsafe-inline'" not in policy
    assert "'unsafe-eval'" not in policy
    strangers = [u for u in portal.met if not u.startswith((portal.url, f"blob:{portal.url}"))]
    assert [u for u in strangers if not u.startswith("data:")] == []
    assert not [text for text in logged if "Content Security Policy" in text]


def test_hostile_labels_are_text(browser: Browser, tmp_path: Path) -> None:
    hostile = LabelSet("hostile", ("<img src=x onerror=alert(1)>", "{{ task.input }}", "a\"b'c&d"))
    served = serve(tmp_path, names=hostile)
    page = opened(browser, served)

    shown = page.locator("[data-label] .cxr-name").all_inner_texts()
    assert page.locator("img[src=x]").count() == 0
    page.close()
    served.backend.close()

    assert list(hostile.names) == [text.strip().partition("\n")[0] for text in shown]


def test_answer_survives_a_portal_that_went_away(browser: Browser, portal: Portal) -> None:
    page = opened(browser, portal)
    page.locator('[data-label="Edema"] [data-state="uncertain"]').click()
    page.keyboard.press("Shift+A")
    page.context.set_offline(True)
    page.keyboard.press("Control+Enter")
    page.locator(".crowd-failed").wait_for(timeout=10_000)

    page.context.set_offline(False)
    submit(page)
    page.close()

    (found,) = portal.output()
    assert str(found.states["Edema"]) == "uncertain"


def test_submitted_json_names_image_and_view(browser: Browser, portal: Portal) -> None:
    page = opened(browser, portal)
    page.keyboard.press("i")
    page.keyboard.press("Shift+A")
    submit(page)
    page.close()

    (found,) = portal.output()
    content = found.document["annotationsFromAllWorkers"][0]["annotationData"]["content"]
    document = json.loads(json.loads(content)["annotation"])
    (instance,) = portal.pacs.search()
    assert document["image"]["sopUid"] == instance.sop_instance_uid
    assert (document["image"]["rows"], document["image"]["columns"]) == (ROWS, COLUMNS)
    assert document["view"]["invert"] is True
    assert document["timing"]["activeMs"] <= document["timing"]["totalMs"]
    assert document["task"]["jobId"] == "page"


def test_next_image_follows_a_submit(browser: Browser, tmp_path: Path) -> None:
    served = serve(tmp_path, images=2)
    page = opened(browser, served)
    page.keyboard.press("Shift+A")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    ready(page)
    page.close()

    assert served.backend.status(served.job).labelled == 1
    served.backend.close()


BLOCK = 32
STEPS = 4080 // (ROWS * COLUMNS // BLOCK**2 - 1)


def steps(**changes: object) -> Dataset:
    """A radiograph of squares, each of another stored value between 0 and 4080."""
    ds = pydicom.dcmread(io.BytesIO(specimens.dicom(1)))
    squares = np.arange(ROWS * COLUMNS // BLOCK**2, dtype=np.uint16) * STEPS
    grid = squares.reshape(ROWS // BLOCK, COLUMNS // BLOCK)
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = np.kron(grid, np.ones((BLOCK, BLOCK), np.uint16)).tobytes()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    correct_ambiguous_vr(ds, True).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def centres() -> list[Point]:
    return [
        (x + BLOCK / 2, y + BLOCK / 2)
        for y in range(0, ROWS, BLOCK)
        for x in range(0, COLUMNS, BLOCK)
    ]


def greys_on_screen(page: Page) -> npt.NDArray[np.int64]:
    """The grey level shown at the centre of each square."""
    scale, left, top = fitted(page)
    box = page.locator(".cxr-stage").bounding_box()
    assert box is not None
    points = [
        (int(left - box["x"] + scale * x), int(top - box["y"] + scale * y)) for x, y in centres()
    ]
    shown = page.locator(".cxr-stage canvas").first.evaluate(
        """(canvas, points) => points.map(([x, y]) =>
             canvas.getContext('2d').getImageData(x, y, 1, 1).data[0])""",
        points,
    )
    return np.array(shown)


def greys_read(ds: Dataset) -> npt.NDArray[np.float64]:
    """The same squares as training reads them."""
    image = dicom.read(written(ds))[0]
    return np.array([255.0 * image[int(y), int(x)] for x, y in centres()])


def lookup(values: list[int], first: int, bits: int) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "OW", np.array(values, "<u2").tobytes())
    return [item]


WINDOW = {"WindowCenter": 1800, "WindowWidth": 2400}
CURVE = [int(65_535 * (n / 3000) ** 0.5) for n in range(3001)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (WINDOW, "W 2400   L 1800   "),
        (WINDOW | {"VOILUTFunction": "LINEAR_EXACT"}, "LINEAR_EXACT"),
        ({"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": 2000, "WindowWidth": 40}, "EXACT"),
        (WINDOW | {"VOILUTFunction": "SIGMOID"}, "SIGMOID"),
        (WINDOW | {"PhotometricInterpretation": "MONOCHROME1"}, "L 1800"),
        (
            WINDOW | {"PhotometricInterpretation": "MONOCHROME1", "VOILUTFunction": "SIGMOID"},
            "SIGMOID",
        ),
        (WINDOW | {"VOILUTSequence": lookup(CURVE, 500, 16)}, "VOI LUT"),
        (WINDOW | {"ModalityLUTSequence": lookup(CURVE, 500, 16)}, "L 1800"),
        ({"RescaleSlope": 0.25, "RescaleIntercept": -20.5, "VOILUTFunction": "SIGMOID"}, "W"),
        (WINDOW | {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 400}, "L 1800"),
        ({}, "W"),
    ],
    ids=[
        "linear", "exact", "narrow", "sigmoid", "monochrome1", "monochrome1 sigmoid",
        "voi lut", "modality lut", "rescaled, no window", "padding", "no window",
    ],
)  # fmt: skip
def test_screen_shows_what_training_reads(
    browser: Browser, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    ds = steps(**changes)
    served = serve(tmp_path, file=written(ds))
    page = opened(browser, served)

    shown, readout = greys_on_screen(page), page.locator(".cxr-readout").inner_text()
    notes = page.locator(".cxr-notes").inner_text()
    page.close()
    served.backend.close()

    assert np.abs(shown - greys_read(ds)).max() <= 2
    assert len(np.unique(shown)) > 1
    assert says in readout
    assert notes == "⚠ the file does not say which side is which"


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_dragged_window_keeps_the_function_of_the_file(
    browser: Browser, tmp_path: Path, function: str
) -> None:
    ds = steps(**WINDOW, VOILUTFunction=function)
    served = serve(tmp_path, file=written(ds))
    page = opened(browser, served)
    before = greys_on_screen(page)
    drag(page, (200, 200), (280, 150))

    shown, readout = greys_on_screen(page), page.locator(".cxr-readout").inner_text().split()
    page.close()
    served.backend.close()

    ds.WindowWidth, ds.WindowCenter = int(readout[1]), int(readout[3])
    assert ds.WindowWidth > 2500
    assert ds.WindowCenter != 1800
    assert np.abs(shown - greys_read(ds)).max() <= 2
    assert np.abs(shown - before).max() > 10


def test_greys_the_page_cannot_show_as_written_are_noted(browser: Browser, tmp_path: Path) -> None:
    broken = lookup([1, 2, 3], 0, 8)
    broken[0].LUTData = b"\0\0"
    ds = steps(**WINDOW, VOILUTFunction="CURVED", VOILUTSequence=broken)
    served = serve(tmp_path, file=written(ds))
    page = opened(browser, served)

    notes = page.locator(".cxr-notes").inner_text()
    page.close()
    served.backend.close()

    assert "CURVED window shown as LINEAR" in notes
    assert "VOI LUT not readable" in notes


@pytest.mark.parametrize("syntax", [None, JPEGLSLossless, JPEG2000Lossless])
def test_damaged_pixels_are_one_message_and_can_be_skipped(
    browser: Browser, tmp_path: Path, syntax: pydicom.uid.UID | None
) -> None:
    ds = steps()
    junk = np.random.default_rng(5).bytes(300)
    if syntax is not None:
        ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = junk if syntax is None else encapsulate([junk])
    served = serve(tmp_path, file=written(ds))
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.on("pageerror", lambda error: served.met.append(f"error: {error}"))
    page.goto(served.url)
    page.locator(".cxr-failure").wait_for(timeout=10_000)

    said = page.locator(".cxr-failure p").first.inner_text()
    page.wait_for_timeout(200)
    page.locator('[data-action="skip-failed"]').click()
    page.locator('[data-action="confirm-skip"]').click()
    page.get_by_role("heading", name="All images are labelled").wait_for(timeout=10_000)
    page.close()
    status = served.backend.status(served.job)
    served.backend.close()

    assert "could not be decoded" in said
    assert served.met == []
    assert status.labelled == 1


def test_long_names_overflow_nothing(browser: Browser, tmp_path: Path) -> None:
    long = tuple(f"{n:02} Interstitial thickening of both bases"[:40] for n in range(15))
    noted = written(steps(**WINDOW, VOILUTFunction="A FUNCTION NOBODY HAS HEARD OF " * 4))
    served = serve(tmp_path, names=LabelSet("long", long), file=noted)
    page = opened(browser, served)
    page.locator("[data-label] .cxr-name").first.click()
    page.keyboard.press("b")
    drag(page, (400, 150), (440, 260))
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(200)

    outside = page.evaluate(
        """() => [...document.querySelectorAll(`#cxr-root :is(button, crowd-button, textarea,
             output, .cxr-message, .cxr-header > *, .cxr-head > *)`)]
          .filter((e) => e.offsetParent !== null && !e.closest('.cxr-findings, .cxr-rois'))
          .filter((e) => {
            const box = e.getBoundingClientRect();
            const home = e.closest('.cxr-header, .cxr-panel, .cxr-main, .cxr-toolbar');
            const walls = home.getBoundingClientRect();
            return box.left < walls.left || box.right > walls.right + 0.5
              || box.top < walls.top || box.bottom > walls.bottom + 0.5
              || (e.scrollWidth > e.clientWidth + 1 && e.localName !== 'span');
          })
          .map((e) => e.outerHTML.slice(0, 120))"""
    )
    sideways = page.evaluate(
        """() => [...document.querySelectorAll(`#cxr-root, .cxr-findings, .cxr-rois, .cxr-presets,
             .cxr-header, .cxr-panel, .cxr-main`)].filter((e) => e.scrollWidth > e.clientWidth)
          .map((e) => e.className)"""
    )
    names = page.locator(".cxr-findings .cxr-name").evaluate_all(
        """all => all.map((e) => e.querySelector('span')).map((name) => [name.parentElement.title,
             name.scrollWidth <= name.clientWidth && name.scrollHeight <= name.clientHeight])"""
    )
    page.close()
    served.backend.close()

    assert len(long[0]) == 40
    assert outside == []
    assert sideways == []
    assert [title for title, _ in names] == list(long)
    assert all(whole for _, whole in names[1:])  # the first is bold, and marked with its region
