"""The reading room's speed: a headless Chromium that answers image after image of a real portal.

From the key that submits to the next image on the screen, the answer on disk in between.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
from browser import EXECUTABLE, FLAGS
from playwright.sync_api import Browser, Page, sync_playwright
from pydicom.uid import JPEGLSLossless, generate_uid

from cxr.contract.labels import LabelSet
from cxr.contract.signing import keys_from_text, new_keys
from cxr.images import synth
from cxr.labeling import Job, Reader, selection
from cxr.labeling.local import LocalLabeling
from cxr.pacs.folder import FolderPacs

SUBMITS = 36
DRAWN = 4
"""Different pictures; the files differ in their UIDs."""
LABELS = LabelSet("mimic", (*synth.FINDINGS, "No Finding"), no_finding="No Finding")
SIZE = (2500, 2048)
LEAST_TASK_MS = 50.0
"""Browsers tell of longer tasks only."""
NO_AHEAD = """() => {
  const asked = window.fetch;
  window.fetch = (url, ...rest) => String(url).endsWith('/api/ahead')
    ? Promise.resolve(new Response('{}', { status: 404 })) : asked(url, ...rest);
}"""
WATCH = """() => {
  window.cxrTasks = [];
  new PerformanceObserver((list) => window.cxrTasks.push(...list.getEntries()))
    .observe({ type: 'longtask', buffered: true });
}"""
NEXT = """(item) => new Promise((done) => {
  const { dataset } = document.documentElement;
  const look = () => dataset.cxrReady === '1' && dataset.cxrItem !== item && done(dataset.cxrItem);
  new MutationObserver(look).observe(document.documentElement, { attributes: true });
  look();
})"""
AHEAD = """() => new Promise((done) => {
  const wait = setInterval(() => {
    const last = (name) => performance.getEntriesByName(name).at(-1)?.startTime ?? 0;
    if (last('cxr-ahead') > last('cxr-painted')) { clearInterval(wait); done(); }
  }, 50);
})"""
TOOK = """() => {
  const last = (name) => performance.getEntriesByName(name).at(-1).startTime;
  const first = performance.getEntriesByName('cxr-submit')[0].startTime;
  performance.clearMarks('cxr-submit');
  return last('cxr-painted') - first;
}"""
LONGEST = """() => {
  const times = (name) => performance.getEntriesByName(name).map((mark) => mark.startTime);
  const [painted, ahead] = [times('cxr-painted'), times('cxr-ahead')];
  const during = (task) => ahead.some((end) => task.startTime < end
    && task.startTime >= Math.max(...painted.filter((start) => start < end)));
  return Math.max(0, ...window.cxrTasks.filter(during).map((task) => task.duration));
}"""


def measure() -> dict[str, float]:
    """Give the 95th percentiles, and the longest task while an image is made ready."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=FLAGS)
        raw, raw_task = run(browser, jpegls=False, ahead=True)
        jpegls, jpegls_task = run(browser, jpegls=True, ahead=True)
        cold = [run(browser, jpegls=kind, ahead=False)[0] for kind in (False, True)]
        browser.close()
    return {
        "submit_to_paint_p95_ms": p95(raw),
        "submit_to_paint_jpegls_p95_ms": p95(jpegls),
        "submit_to_paint_cold_p95_ms": max(map(p95, cold)),
        "longest_task_ms": max(raw_task, jpegls_task, LEAST_TASK_MS),
        "submit_to_paint_median_ms": float(np.median(raw)),
        "submit_to_paint_cold_median_ms": max(float(np.median(times)) for times in cold),
    }


def run(browser: Browser, *, jpegls: bool, ahead: bool) -> tuple[list[float], float]:
    """Answer `SUBMITS` images; give the times and the longest task, in milliseconds."""
    with TemporaryDirectory(dir=".") as folder, serving(Path(folder), jpegls) as (backend, job):
        page = opened(browser, backend.status(job).url, ahead=ahead)
        times = [submitted(page, ahead=ahead) for _ in range(SUBMITS)]
        longest = float(page.evaluate(LONGEST))
        page.close()
        kept = backend.status(job).labelled
    if kept != SUBMITS:
        sys.exit(f"expected {SUBMITS} answers on disk, met {kept}")
    return times, longest


@contextlib.contextmanager
def serving(folder: Path, jpegls: bool) -> Iterator[tuple[LocalLabeling, Job]]:
    """Serve a job of one more image than will be answered, so that there is always a next one."""
    pacs = FolderPacs(folder / "pacs")
    for file in files(jpegls):
        pacs.store(file)
    job = Job("bench", folder / "jobs" / "bench", LABELS, (Reader("reader"),))
    selected = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=LABELS)
    backend = LocalLabeling(pacs=pacs, keys=keys_from_text(new_keys()), port=0)
    backend.start(job, selected.path)
    yield backend, job
    backend.close()


def files(jpegls: bool) -> Iterator[bytes]:
    """Give 12-bit radiographs, uncompressed or as JPEG-LS."""
    for index in range(DRAWN):
        ds = pydicom.dcmread(io.BytesIO(synth.draw(index, seed=5, size=SIZE)[0]))
        if jpegls:
            ds.compress(JPEGLSLossless, encoding_plugin="pyjpegls")
        for _ in range(SUBMITS // DRAWN + 1):
            ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            buffer = io.BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            yield buffer.getvalue()


def opened(browser: Browser, url: str, *, ahead: bool) -> Page:
    """Open the worker page, which may look ahead or not; gives it when its image is painted."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.add_init_script(f"({WATCH})(); {'' if ahead else f'({NO_AHEAD})();'}")
    page.goto(url)
    page.evaluate(NEXT, "")
    return page


def submitted(page: Page, *, ahead: bool) -> float:
    """Answer the image, once the next one is ready; give the milliseconds until that is painted."""
    if ahead:
        page.evaluate(AHEAD)
    page.keyboard.press("n")
    item = page.evaluate("() => document.documentElement.dataset.cxrItem")
    page.keyboard.press("Control+Enter")
    page.evaluate(NEXT, item)
    return float(page.evaluate(TOOK))


def p95(times: list[float]) -> float:
    """Give the 95th percentile."""
    return float(np.percentile(times, 95))
