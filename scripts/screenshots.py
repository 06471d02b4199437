"""Take the README's pictures of the portal: a synthetic job that three readers are reading.

What they answer, where they draw and how long they take is made up; the pages are the real ones.
"""

import csv
import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from unittest import mock

from browser import EXECUTABLE, FLAGS
from playwright.sync_api import Page, sync_playwright

from cxr.contract import annotation, labels, manifest
from cxr.contract.annotation import Annotation, Roi
from cxr.contract.signing import Keys
from cxr.images import synth
from cxr.labeling import Job, Reader, audit, scripted, selection
from cxr.labeling.answers import Answers
from cxr.labeling.local import LocalLabeling
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs

OUT = Path(__file__).parents[1] / "docs" / "images"
IMAGES, SEED, SIZE, KEYS = 64, 7, (1024, 896), Keys({"screenshots": bytes(32)})
LABELS = labels.from_names([*synth.FINDINGS, "No Finding"], "mimic_cxr")
LESION = "Lung Lesion"
SKILLS = {"asmith": (0.96, 0.01), "bjones": (0.92, 0.02), "clee": (0.85, 0.05)}
NAMES = {"asmith": "Dr A. Smith", "bjones": "Dr B. Jones", "clee": "Dr C. Lee"}
TEAM = [
    Reader(key, {"sensitivity": s, "specificity": 0.985, "uncertain": u, "seed": n + 3}, NAMES[key])
    for n, (key, (s, u)) in enumerate(SKILLS.items())
]
Lesions = Mapping[str, Sequence[tuple[float, ...]]]
"""Source → centre and radii of each lesion drawn there."""
LEAD = Reader("dnovak", name="Dr D. Novak", roles=("adjudicator", "lead"))


def main() -> None:
    """Draw a job, let it be read, and photograph its pages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pacs = FolderPacs(folder / "pacs")
        synthetic.draw_into(pacs, folder / "drawn", images=IMAGES, seed=SEED, size=SIZE)
        job = Job(
            "chest", folder / "job", LABELS, (*TEAM, LEAD), workers_per_object=3,
            consolidation="adjudicated", closes="lead",
        )  # fmt: skip
        path = selection.from_query(
            job.folder, pacs, query={}, views=["frontal"], label_set=LABELS
        ).path
        with (folder / "drawn").open(newline="") as file:
            lesions = {
                row["source"]: [
                    astuple(one)
                    for one in synth.outlines(int(row["index"]), seed=SEED, size=SIZE).get(
                        LESION, ()
                    )
                ]
                for row in csv.DictReader(file)
            }
        read(job, path, scripted.read_truth(folder / "drawn", LABELS), lesions)
        backend = LocalLabeling(pacs=pacs, keys=KEYS, port=0)
        backend.start(job, path)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            photograph(page, backend.links(job), lesions)
            browser.close()
        backend.close()


def read(job: Job, path: Path, truth: scripted.Truth, lesions: Lesions) -> None:
    """Let the readers work since half an hour ago, each at a pace of her own."""
    answers = Answers(
        job.folder / selection.ANSWERS, workers_per_object=3, task_time_limit_s=3600,
        readers=list(SKILLS), audit_key=audit.keys(KEYS)[0],
    )  # fmt: skip
    answers.add(manifest.read(path), job.name)
    chance, now = random.Random(4), time.time()
    clocks = [(now - 1650, k) for k in range(3)]
    while clocks:
        at, k = min(clocks)
        clocks.remove((at, k))
        with mock.patch("time.time", lambda at=at: at):
            task = answers.assign(TEAM[k].id)
        done = at + chance.uniform(16, 30) * (1 + k / 4)
        if task is None or done > now:
            continue
        source = manifest.source(task.data_object)
        said = scripted.answer(LABELS, truth[source], TEAM[k], source)
        rois = []
        for x, y, a, b in lesions[source]:
            x, y, a, b = (v + chance.gauss(0, 6) for v in (x, y, a, b))
            ends = ((x - a, y), (x + a, y)), ((x, y - b), (x, y + b))
            rois.append(Roi(f"{x}", "ellipse", LESION, ends[a < b] + ends[a >= b]))
        shown = tuple(rois) if said[LESION] == "present" else ()
        document = annotation.to_document(Annotation(said, shown))
        document["timing"] = {"activeMs": 1000 * chance.lognormvariate(2.7, 0.4)}
        with mock.patch("time.time", lambda done=done: done):
            answers.submit(task.id, json.dumps({annotation.FIELD: json.dumps(document)}))
        clocks.append((done, k))
    answers.close()


def photograph(page: Page, links: dict[str, str], lesions: Lesions) -> None:
    """Take the three pictures."""
    page.goto(links[LEAD.id])
    page.goto(page.url.replace("/adjudicate", "/job"))
    page.locator("#findings tbody tr").first.wait_for()
    page.screenshot(path=OUT / "job.png")
    rows = page.locator("#disputes tbody tr", has_text=LESION)
    sources = rows.locator(".source").all_inner_texts()
    rows.nth(next(k for k, source in enumerate(sources) if lesions[source])).locator("a").click()
    shown(page)
    page.locator(f'[data-label="{LESION}"] .cxr-name').click()
    page.screenshot(path=OUT / "adjudication.png")
    page.goto(links["clee"])
    shown(page)
    while not (found := lesions[page.locator("html").get_attribute("data-cxr-item") or ""]):
        page.keyboard.press("Shift+A")
        with page.expect_response("**/answer?*"):
            page.keyboard.press("Control+Enter")
        shown(page)
    point(page, found)
    page.screenshot(path=OUT / "reading.png")


def shown(page: Page) -> None:
    """Wait until the image is there."""
    page.wait_for_timeout(500)
    page.wait_for_selector('html[data-cxr-ready="1"]')


def point(page: Page, found: Sequence[tuple[float, ...]]) -> None:
    """Draw ellipses around lesions, and answer some findings."""
    box = page.locator(".cxr-stage").bounding_box()
    left, top, width, height = (box[k] for k in ("x", "y", "width", "height")) if box else [0.0] * 4
    scale = min(width / SIZE[1], height / SIZE[0])
    left += (width - scale * SIZE[1]) / 2
    for label, state in ((LESION, "present"), ("Lung Opacity", "present"), ("Edema", "uncertain")):
        page.locator(f'[data-label="{label}"] [data-state="{state}"]').click()
    page.locator(f'[data-label="{LESION}"] .cxr-name').click()
    page.keyboard.press("e")
    for x, y, a, b in found:
        page.mouse.move(left + scale * x, top + scale * y)
        page.mouse.down()
        page.mouse.move(left + scale * (x + 1.2 * a), top + scale * (y + 1.2 * b), steps=5)
        page.mouse.up()
    page.wait_for_timeout(400)


if __name__ == "__main__":
    main()
