"""The one template: what is in a task reaches the page as data, never as HTML or Liquid."""

import html
import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.labeling import Reader, page
from cxr.labeling.portal import rooms

ROOT = Path(__file__).parents[1]
EVIL = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "{{ task.input.labels }}",
    "{% raw %}",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "&lt;b&gt; & é \u2028",
]


class Reading(html.parser.HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def one(self, tag, **attributes):
        (found,) = [a for t, a in self.tags if t == tag and attributes.items() <= a.items()]
        return found


def task(**changes):
    return {
        "imageUrl": "http://127.0.0.1:8300/pacs/instances/x/file?token=a.b-c_d&x=1",
        "source": "x",
        "jobId": "demo",
        "itemId": "x",
        "labels": ["Edema", "No Finding"],
        "noFinding": "No Finding",
        "compatible": [],
        "parents": {},
        "instructions": "Look closely.",
        "viewerSrc": "http://127.0.0.1:8300/assets/viewer-1.js",
        "templateSha": "1",
        "viewerSha": "2",
    } | changes


SHAPE = [tag for tag, _ in Reading(page.render(task())).tags]


def test_the_page_carries_the_whole_task():
    given_task = task()

    found = Reading(page.render(given_task))

    root = found.one("div", id="cxr-root")
    assert json.loads(root["data-task"]) == given_task
    assert root["data-image"] == given_task["imageUrl"]
    assert found.one("script", src=given_task["viewerSrc"])
    assert found.one("input", name="annotation")["type"] == "hidden"
    assert found.one("crowd-button")["form-action"] == "submit"
    assert "Look closely." in found.text
    assert "Research use only. Not for clinical decisions." in found.text


@pytest.mark.parametrize("evil", EVIL)
def test_hostile_text_stays_text(evil):
    given_task = task(labels=[evil], noFinding=evil, instructions=evil, parents={evil: [evil]})

    found = Reading(page.render(given_task))

    assert [tag for tag, _ in found.tags] == SHAPE
    assert json.loads(found.one("div", id="cxr-root")["data-task"]) == given_task
    assert evil in found.text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_labels_arrive_as_they_are(labels):
    found = Reading(page.render(task(labels=labels)))

    assert [tag for tag, _ in found.tags] == SHAPE
    assert json.loads(found.one("div", id="cxr-root")["data-task"])["labels"] == labels


def test_an_image_in_s3_goes_through_grant_read_access():
    given_task = task(
        imageUrl="s3://bucket/a.dcm",
        viewerSrc="s3://bucket/viewer.js",
        examples=[{"url": "s3://bucket/e.png", "caption": "<b>an example</b>"}],
        companions=[{"imageUrl": "s3://bucket/b.dcm"}, {"imageUrl": "https://pacs/c?token=d"}],
    )

    found = Reading(page.render(given_task))

    assert found.one("div", id="cxr-root")["data-image"] == "s3://bucket/a.dcm"
    assert found.one("script", src="s3://bucket/viewer.js")
    assert found.one("img")["src"] == "s3://bucket/e.png"
    assert found.one("img")["alt"] == "<b>an example</b>"
    addresses = found.one("div", id="cxr-root")["data-companions"]
    assert addresses.split() == ["s3://bucket/b.dcm", "https://pacs/c?token=d"]
    assert page.template_text().count("grant_read_access") == 4


def test_the_template_is_one_that_ground_truth_takes():
    text = page.template_text()

    assert len(text) <= 128_000
    assert "| to_json" in text
    assert "{{ task.input }}" not in text
    assert 'type="module"' not in text
    assert page.CROWD_SCRIPT in text


def test_the_portal_serves_its_own_crowd_elements():
    body = page.render(task())

    found = Reading(page.document(body, title="a<b>", submit_url='/tasks/"x"', csrf="<c>"))

    assert [a["src"] for t, a in found.tags if t == "script"] == [
        "/assets/crowd-shim.js", "http://127.0.0.1:8300/assets/viewer-1.js"
    ]  # fmt: skip
    assert found.one("meta", name="cxr-submit-url")["content"] == '/tasks/"x"'
    assert found.one("meta", name="cxr-csrf")["content"] == "<c>"
    assert found.one("html")["lang"] == "en"
    assert not [tag for tag, _ in found.tags if tag in ("a", "b", "c")]


@pytest.mark.parametrize("evil", [*EVIL, "[[link]]"])
def test_a_message_is_text_too(evil):
    plain = Reading(page.message("Done", "Bye", link=("/task", "Again")))

    found = Reading(page.message(evil, evil, link=("/task", evil)))

    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert found.one("a")["href"] == "/task"
    assert found.text.count(evil) == 4


def test_the_built_viewer_is_named_by_its_hash():
    viewer = page.viewer()

    assert viewer.name == f"viewer-{page.sha(viewer.read_bytes())[:16]}.js"


def test_without_a_built_viewer_it_says_how_to_build_it(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "templates").mkdir()

    ran = subprocess.run(
        [sys.executable, "-c", "from cxr.labeling import page; page.viewer()"],
        env={"PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    last = ran.stderr.splitlines()[-1]
    assert last.startswith("cxr.errors.JobError: no built viewer in ")
    assert last.endswith("dist: run make viewer")


def test_a_small_page_shows_job_and_links_and_takes_nothing_for_markup():
    reader = Reader("ann", roles=("reader", "lead"))

    shown = page.message("<i>", "[[link]] & more", job="<b>", nav=rooms.nav(reader, "/job"))

    assert "<h1>&lt;i&gt;</h1>" in shown
    assert "[[link]] &amp; more" in shown
    assert "<strong>&lt;b&gt;</strong>" in shown
    assert '<a href="/task">Read</a>' in shown
    assert '<a href="/job" aria-current="page">Job</a>' in shown


def test_a_reader_who_only_reads_gets_no_links_beside_her_answers():
    assert 'href="/answered"' in rooms.nav(Reader("ann"))
    assert 'href="/task"' not in rooms.nav(Reader("lead", roles=("lead",)))
    assert rooms.nav(None) == ""


def test_an_offer_travels_as_an_attribute():
    offer = {"id": "7", "draft": {"says": "\"'><script>"}}

    shown = page.document("", title="t", submit_url="/s", csrf="c", offer=offer)

    content = re.search(r'<meta name="cxr-offer" content="([^"]*)">', shown)
    assert json.loads(html.unescape(content[1])) == offer
    assert "<script>" not in shown
