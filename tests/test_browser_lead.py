"""The job page and adjudication in a real browser, on a job that scripted readers have filled."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from test_browser import LABELS, ready

from cxr.contract import consolidate, manifest
from cxr.contract.labels import LabelSet
from cxr.contract.signing import keys_from_text, new_keys
from cxr.labeling import Job, Reader, scripted, selection
from cxr.labeling.local import LocalLabeling
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EVIL = "<img src=x onerror=alert(1)>"


def script(seed: int, right: float) -> dict[str, float]:
    return {"sensitivity": right, "specificity": right, "uncertain": 0.1, "seed": seed}


TEAM = (
    Reader("one", script(1, 0.95), name=EVIL),
    Reader("two", script(2, 0.8)),
    Reader("three", script(3, 0.7)),
    Reader("dan", name="Dr Dan Decider", roles=("adjudicator", "lead")),
    Reader("eve", roles=("lead",)),
)


@dataclass
class Room:
    job: Job
    backend: LocalLabeling
    truth: Path
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.backend.status(self.job).url

    def fill(self) -> None:
        """Let the scripted readers answer everything."""
        scripts = scripted.start(
            self.job,
            self.backend.links(self.job),
            scripted.read_truth(self.truth, self.job.labels),
        )
        for one in scripts:
            one.join()
        assert [one.error for one in scripts] == [None] * 3


@contextlib.contextmanager
def room(
    folder: Path, *, images: int, names: LabelSet = LABELS, **changes: object
) -> Iterator[Room]:
    pacs = FolderPacs(folder / "pacs")
    truth = folder / "truth.csv"
    synthetic.draw_into(pacs, truth, images=images, seed=5, size=(256, 224))
    given = {"consolidation": "adjudicated", "closes": "lead"} | changes
    job = Job("panel", folder / "jobs" / "panel", names, TEAM, workers_per_object=3, **given)
    selected = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=names)
    backend = LocalLabeling(pacs=pacs, keys=keys_from_text(new_keys()), port=0)
    backend.start(job, selected.path)
    yield Room(job, backend, truth)
    backend.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Twelve images answered by three readers; for tests that change nothing."""
    with room(tmp_path_factory.mktemp("filled"), images=12) as made:
        made.fill()
        yield made


def opened(browser: Browser, room: Room, reader: str, path: str = "") -> Page:
    """A page on which a reader is signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.on("pageerror", lambda error: room.said.append(f"error: {error}"))
    page.on("console", lambda message: room.said.append(message.text))
    page.on("request", lambda request: room.said.append(request.url))
    page.goto(room.backend.links(room.job)[reader])
    if path:
        page.goto(room.url + path)
    return page


def column(page: Page, table: str, number: int) -> list[str]:
    cells = page.locator(f"#{table} tbody tr > :nth-child({number})").all_inner_texts()
    return [" ".join(text.split()) for text in cells]


def test_the_lead_sees_the_job_fill_without_reloading(browser: Browser, tmp_path: Path) -> None:
    with room(tmp_path, images=4) as served:
        page = opened(browser, served, "eve")
        expect(page.locator("#labelled")).to_have_text("0")
        dashes = page.locator("#workers .none").count()

        served.fill()
        expect(page.locator("#labelled")).to_have_text("4", timeout=15_000)
        expect(page.locator("#asof")).to_contain_text("12", timeout=15_000)

        assert page.url.endswith("/job")
        assert dashes == 3 * 4
        assert page.locator("#answers").inner_text() == "12 of 12"
        assert page.locator("#state").inner_text() == "all labelled"
        assert page.locator("#eta").inner_text() == "nothing left"
        assert page.locator("#bar").get_attribute("aria-valuenow") == "100"
        page.context.close()
    assert not [text for text in served.said if "error" in text.lower()]


def test_tables_say_what_the_portal_says(browser: Browser, filled: Room) -> None:
    page = opened(browser, filled, "eve", "/job")
    page.locator("#findings tbody tr").first.wait_for()

    told = page.evaluate("fetch('/api/job/figures').then((r) => r.json())")

    rows = {row["label"]: row for row in told["findings"]}
    assert column(page, "findings", 1) == list(LABELS.names)
    for label, shown in zip(LABELS.names, column(page, "findings", 3), strict=True):
        alpha = rows[label]["alpha"]
        expected = f"{alpha['value']:.2f} {alpha['low']:.2f} to {alpha['high']:.2f}"
        assert shown.replace("−", "-") == expected
    assert column(page, "findings", 7) == [str(rows[n]["disagreements"]) for n in LABELS.names]
    assert column(page, "workers", 1)[1:] == ["two", "three"]
    assert len(column(page, "disputes", 1)) == len(told["disputes"])
    page.context.close()


def test_hostile_names_are_text_on_the_job_page(browser: Browser, tmp_path: Path) -> None:
    names = LabelSet("evil", ("Edema", EVIL, "{{ job }}"))
    with room(tmp_path, images=2, names=LABELS) as served:
        served.fill()
        page = opened(browser, served, "eve")
        page.locator("#workers tbody tr").first.wait_for()
        shown = page.locator("#workers tbody th").first.inner_text()
        images = page.locator("img").count()
        page.context.close()
    with room(tmp_path / "labels", images=1, names=names) as served:
        page = opened(browser, served, "eve")
        page.locator("#findings tbody tr").first.wait_for()
        labels = column(page, "findings", 1)
        images += page.locator("img").count()
        page.context.close()

    assert shown.startswith(EVIL)
    assert labels == list(names.names)
    assert images == 0


def test_the_lead_lists_disagreements_on_one_finding(browser: Browser, filled: Room) -> None:
    page = opened(browser, filled, "eve", "/job")
    link = page.locator("#findings tbody tr", has_text="Edema").locator("a")
    link.focus()
    page.keyboard.press("Enter")

    expect(page.locator("#disputes-title")).to_be_focused()
    tags = page.locator("#disputes tbody td.labels").all_inner_texts()
    pressed = page.locator('#filters [aria-pressed="true"]').inner_text()
    page.context.close()

    assert pressed == "Edema"
    assert tags
    assert all("Edema" in text for text in tags)


def test_whoever_leads_and_decides_goes_from_a_finding_to_its_disputes(
    browser: Browser, filled: Room
) -> None:
    page = opened(browser, filled, "dan", "/job")
    page.locator("#findings tbody tr", has_text="Edema").locator("a").click()
    ready(page)

    assert page.url.endswith("/adjudicate?label=Edema")
    assert re.match(r"disagreement 1 of \d+ · 0 decided", page.locator(".cxr-place").inner_text())
    assert page.locator('[data-label="Edema"][data-disputed]').count() == 1
    page.context.close()


def test_a_job_is_closed_only_after_it_was_said_what_that_means(
    browser: Browser, tmp_path: Path
) -> None:
    with room(tmp_path, images=2) as served:
        served.fill()
        page = opened(browser, served, "eve")
        page.locator("#close").click()
        text = page.locator("#confirm").inner_text()
        page.keyboard.press("Escape")
        page.wait_for_timeout(300)
        before = served.backend.status(served.job).state
        page.locator("#close").click()
        page.get_by_role("button", name="Close job", exact=True).click()
        page.locator('#state[data-state="closed"]').wait_for()
        after = served.backend.status(served.job).state
        hidden = page.locator("#close").is_hidden()
        page.context.close()

    assert "Readers get no more images" in text
    assert (before, after) == ("InProgress", "Completed")
    assert hidden


def test_the_manifest_is_downloaded(browser: Browser, filled: Room, tmp_path: Path) -> None:
    page = opened(browser, filled, "eve", "/job")
    with page.expect_download() as waited:
        page.get_by_text("Download manifest").click()
    waited.value.save_as(tmp_path / "got.manifest")
    page.context.close()

    assert waited.value.suggested_filename == "panel.output.manifest"
    assert len(list(manifest.read(tmp_path / "got.manifest"))) == 12


def test_disputes_are_decided_one_after_another(browser: Browser, tmp_path: Path) -> None:
    with room(tmp_path, images=3) as served:
        served.fill()
        page = opened(browser, served, "dan", "/adjudicate")
        decided = []
        while page.locator("#cxr-root").count():
            ready(page)
            decided.append(page.locator("html").get_attribute("data-cxr-item"))
            for row in page.locator("[data-label][data-disputed]").all():
                row.locator('[data-state="uncertain"]').last.click()
            page.keyboard.press("Shift+A")
            with page.expect_navigation():
                page.keyboard.press("Control+Enter")
        title = page.locator("h1").inner_text()
        again = page.get_by_role("link", name="Go through them again").get_attribute("href")
        page.context.close()
        lines = [
            manifest.labelled(line) for line in manifest.read(served.backend.collect(served.job))
        ]

    assert decided
    assert title in ("Decided", f"All {len(decided)} disagreements are decided")
    assert re.fullmatch(r"/adjudicate/\d", again or "")
    found = {str(line.data_object["source"]): line for line in lines if line is not None}
    for source in decided:
        kept = found[str(source)].document["adjudication"]
        said = consolidate.read_content(kept["annotationData"]["content"], LABELS)
        assert "uncertain" in {str(state) for state in said.findings.values()}
        assert len(found[str(source)].document["annotationsFromAllWorkers"]) == 3


def test_what_is_begun_on_a_dispute_is_there_when_one_comes_back(
    browser: Browser, filled: Room
) -> None:
    page = opened(browser, filled, "dan", "/adjudicate")
    ready(page)
    row = page.locator("[data-label][data-disputed]").first
    row.locator('[data-state="present"]').last.click()
    label = row.get_attribute("data-label")
    page.wait_for_timeout(300)
    with page.expect_navigation():
        page.locator('[data-action="next-dispute"]').click()
    ready(page)
    second = page.locator(".cxr-place").inner_text()
    with page.expect_navigation():
        page.keyboard.press("PageUp")
    ready(page)

    chosen = page.locator(f'[data-label="{label}"]').get_attribute("data-answer")
    assert second.startswith("disagreement 2 of")
    assert chosen == "present"
    page.context.close()


def test_pages_ask_only_the_portal_and_break_no_policy(browser: Browser, filled: Room) -> None:
    filled.said.clear()
    for path in ("/job", "/adjudicate"):
        page = opened(browser, filled, "dan", path)
        page.wait_for_timeout(1500)
        page.context.close()

    asked = [text for text in filled.said if re.match(r"\w+://", text)]
    assert asked
    assert [url for url in asked if not url.startswith(filled.url)] == []
    assert not [text for text in filled.said if "Content Security Policy" in text]
    assert not [text for text in filled.said if text.startswith("error")]


@pytest.mark.parametrize("width", [1280, 1920])
def test_nothing_stands_outside_the_job_page(browser: Browser, filled: Room, width: int) -> None:
    page = opened(browser, filled, "eve", "/job")
    page.set_viewport_size({"width": width, "height": 720})
    page.locator("#findings tbody tr").first.wait_for()
    page.wait_for_timeout(200)

    wide = page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll('.wide:not([hidden])')]
            .filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.id || e.className)"""
    )
    page.context.close()

    assert wide == []


def test_text_of_the_job_page_can_be_read_and_tables_are_tables(
    browser: Browser, filled: Room
) -> None:
    page = opened(browser, filled, "eve", "/job")
    page.locator("#findings tbody tr").first.wait_for()

    faint = page.evaluate(CONTRAST)
    bare = page.evaluate(
        """() => [...document.querySelectorAll('table')].filter((t) => !t.caption
            || [...t.querySelectorAll('th')].some((th) => !th.scope)).map((t) => t.id)"""
    )
    page.context.close()

    assert faint == []
    assert bare == []


# text of less than 4.5 to 1 (WCAG 1.4.3, AA) against the nearest ground that is not see-through
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const found = rgb(getComputedStyle(e).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => e.checkVisibility() && !e.closest('dialog, noscript, .unseen'))
    .filter((e) => {
      const own = light(rgb(getComputedStyle(e).color));
      const [a, b] = [own, light(ground(e))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5;
    })
    .map((e) => e.textContent.slice(0, 40));
}"""
