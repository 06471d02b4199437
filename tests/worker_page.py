"""The worker page on a real portal, driven by a real mouse, and where a pixel should lie on it."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import specimens
from playwright.sync_api import Browser, Page
from pydicom.filewriter import correct_ambiguous_vr
from sites import let_go

from cxr.contract import manifest
from cxr.contract.labels import LabelSet
from cxr.contract.signing import keys_from_text, new_keys
from cxr.labeling import Job, Reader, selection
from cxr.labeling import Page as Offered
from cxr.labeling.local import LocalLabeling
from cxr.pacs.folder import FolderPacs

ROWS, COLUMNS = 360, 480
LABELS = LabelSet(
    "few",
    ("Edema", "Pneumothorax", "Support Devices", "No Finding"),
    no_finding="No Finding",
    compatible=("Support Devices",),
)
Point = tuple[float, float]
Matrix = npt.NDArray[np.float64]


def radiograph(**changes: object) -> bytes:
    """A CR of ROWS × COLUMNS; the pixel at (x, y) stores (7 x + 13 y) modulo 4096."""
    ds = pydicom.dcmread(io.BytesIO(specimens.dicom(1)))
    y, x = np.mgrid[:ROWS, :COLUMNS]
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = ((7 * x + 13 * y) % 4096).astype("<u2").tobytes()
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    correct_ambiguous_vr(ds, True).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@dataclass
class Room:
    """A portal with one image, and the page on it.

    Attributes:
        page: Opened and ready.
        view: Image pixels to screen pixels, homogeneous; `see` sets it.
    """

    job: Job
    backend: LocalLabeling
    page: Page
    spacing: tuple[float, float]
    view: Matrix = field(default_factory=lambda: np.eye(3))

    def see(self, *, rotation: int = 0, flip_h: bool = False, flip_v: bool = False) -> None:
        """Expect the image fitted and centred, flipped first, then turned clockwise."""
        row, column = self.spacing
        flips = np.diag([-1.0 if flip_h else 1.0, -1.0 if flip_v else 1.0, 1.0])
        angle = np.radians(rotation)
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        lies = turn @ flips @ np.diag([column, row, 1.0])
        corners = lies @ np.array([[0, COLUMNS, COLUMNS, 0], [0, 0, ROWS, ROWS], [1, 1, 1, 1]])
        low, high = corners.min(axis=1)[:2], corners.max(axis=1)[:2]
        box = self.page.locator(".cxr-stage").bounding_box()
        assert box is not None
        scale = min(np.array([box["width"], box["height"]]) / (high - low))
        middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
        fit = np.diag([scale, scale, 1.0])
        fit[:2, 2] = middle - scale * (low + high) / 2
        self.view = fit @ lies

    def wheel(self, at: Point, turns: int) -> None:
        """Turn the wheel over an image point: what lies there stays."""
        x, y = self.over(at)
        self.page.mouse.move(x, y)
        for _ in range(abs(turns)):
            self.page.mouse.wheel(0, -100 if turns > 0 else 100)
        self.page.wait_for_timeout(150)
        self._closer(np.exp(turns * 100 / 500), x, y)

    def closer(self) -> None:
        """Zoom by a key: about the middle."""
        box = self.page.locator(".cxr-stage").bounding_box()
        assert box is not None
        self.page.keyboard.press("+")
        self._closer(1.25, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def _closer(self, k: float, x: float, y: float) -> None:
        self.view = np.array([[k, 0, x - k * x], [0, k, y - k * y], [0, 0, 1]]) @ self.view

    def over(self, point: Point) -> tuple[int, int]:
        """The screen pixel nearest to an image point: a mouse rests on whole ones."""
        x, y, _ = self.view @ np.array([*point, 1.0])
        return round(x), round(y)

    def under(self, screen: tuple[int, int]) -> Point:
        x, y, _ = np.linalg.solve(self.view, np.array([*screen, 1.0]))
        return x, y

    def move(self, point: Point, steps: int = 4) -> Point:
        """Move near an image point; gives the one the mouse is really over."""
        screen = self.over(point)
        self.page.mouse.move(*screen, steps=steps)
        return self.under(screen)

    def drag(self, start: Point, end: Point) -> list[Point]:
        began = self.move(start)
        self.page.mouse.down()
        ended = self.move(end)
        self.page.mouse.up()
        return [began, ended]

    def click(self, *points: Point) -> list[Point]:
        met = []
        for point in points:
            met.append(self.move(point))
            self.page.mouse.down()
            self.page.mouse.up()
        return met

    def choose(self, label: str) -> None:
        self.page.locator(f'.cxr-finding[data-label="{label}"] .cxr-name').click()

    def state(self, label: str) -> str | None:
        return self.page.locator(f'.cxr-finding[data-label="{label}"]').get_attribute("data-answer")

    def readout(self) -> list[str]:
        """Window width, level, zoom in percent."""
        words = self.page.locator(".cxr-readout").inner_text().split()
        return [words[1], words[3], words[4]]

    def tags(self) -> list[str]:
        return self.page.locator(".cxr-tags span").all_inner_texts()

    def submit(self) -> dict[str, Any]:
        """Everything left is absent; gives the document as the manifest has it."""
        self.page.keyboard.press("Shift+A")
        self.page.keyboard.press("Control+Enter")
        done = self.page.get_by_role("heading", name="All images are labelled")
        done.wait_for(timeout=10_000)
        (line,) = manifest.read(self.backend.collect(self.job))
        found = manifest.labelled(line)
        assert found is not None
        content = found.document["annotationsFromAllWorkers"][0]["annotationData"]["content"]
        document: dict[str, Any] = json.loads(json.loads(content)["annotation"])
        return document


@contextmanager
def room(
    browser: Browser,
    folder: Path,
    offered: Offered | None = None,
    density: float = 1,
    **changes: object,
) -> Iterator[Room]:
    """Open the page on one image; `changes` are of its header, `density` of the screen."""
    pacs = FolderPacs(folder / "pacs")
    pacs.store(radiograph(**changes))
    job = Job(
        "tools", folder / "jobs" / "tools", LABELS, (Reader("reader"),), page=offered or Offered()
    )
    selected = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=LABELS)
    backend = LocalLabeling(pacs=pacs, keys=keys_from_text(new_keys()), port=0)
    backend.start(job, selected.path)
    page = browser.new_page(viewport={"width": 1280, "height": 720}, device_scale_factor=density)
    page.goto(backend.status(job).url)
    page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)
    named = changes.get("PixelSpacing") or changes.get("ImagerPixelSpacing") or (1.0, 1.0)
    row, column = named  # type: ignore[misc]
    opened = Room(job, backend, page, (float(row), float(column)))
    opened.see()
    try:
        yield opened
    finally:
        page.close()
        let_go(backend.close)
