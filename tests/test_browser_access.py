"""Signing in and out in a real browser, which says by itself where a form was sent from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import KEYS, Site, certificate
from playwright.sync_api import Browser, Page
from sites import let_go
from specimens import LABELS, dicom

from cxr.labeling import Job, Reader, selection
from cxr.labeling.local import LocalLabeling
from cxr.pacs.folder import FolderPacs

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PHRASE = "six walls and a lamp"


@pytest.fixture
def pacs(tmp_path: Path) -> FolderPacs:
    store = FolderPacs(tmp_path / "pacs", keys=KEYS)
    store.store(dicom(1))
    return store


@pytest.fixture
def site(tmp_path: Path, pacs: FolderPacs) -> Iterator[Any]:
    made = Site(tmp_path, pacs, Reader("ann", name="Ann Example"), "bob")
    yield made
    let_go(made.stop)


def told(page: Page) -> list[str]:
    """What a page asks for and complains of, from now on."""
    met: list[str] = []
    page.on("request", lambda request: met.append(request.url))
    page.on("console", lambda message: met.append(f"console: {message.text}"))
    return met


def test_a_reader_sets_a_passphrase_signs_out_and_in_again_by_keyboard(
    browser: Browser, site: Any
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    met = told(page)
    page.goto(site.url + site.link("ann"))
    page.goto(site.url + "/passphrase")

    page.get_by_label("New passphrase").fill(PHRASE)
    page.get_by_label("The same again").fill(PHRASE)
    page.keyboard.press("Enter")
    page.get_by_text("Your passphrase is set").wait_for()
    page.goto(site.url + "/passphrase")
    assert page.get_by_role("heading").inner_text() == "Passphrase of Ann Example"
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert context.cookies() == []

    page.goto(site.url + "/answered")
    page.get_by_label("Name or email").fill("ann")
    page.keyboard.press("Tab")
    page.keyboard.type("a wrong passphrase")
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Name or passphrase is wrong."
    assert page.get_by_label("Name or email").input_value() == "ann"
    page.get_by_label("Passphrase", exact=True).fill(PHRASE)
    page.keyboard.press("Enter")
    page.wait_for_url("**/answered")

    complaints = [line for line in met if line.startswith("console")]
    ours = (site.url, f"blob:{site.url}", "data:")
    assert [url for url in met if url not in complaints and not url.startswith(ours)] == []
    assert all("401" in line for line in complaints), complaints
    context.close()


def test_a_page_of_another_site_signs_nobody_in_or_out(browser: Browser, site: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.url + site.link("ann"))
    site.accounts.set_passphrase("bob", PHRASE, now=0)
    fields = f'<input name="name" value="bob"><input name="passphrase" value="{PHRASE}">'
    # localhost is another origin than 127.0.0.1
    evil = (
        f'<form method="post" action="{site.url}/sign-in">{fields}<button>in</button></form>'
        f'<form method="post" action="{site.url}/sign-out"><button>out</button></form>'
    )
    for button in ("in", "out"):
        page.route(
            "http://localhost/*", lambda route: route.fulfill(body=evil, content_type="text/html")
        )
        page.goto("http://localhost/evil")
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_text("this form was not sent by a page of").wait_for()

    page.goto(site.url + "/passphrase")
    assert page.get_by_role("heading").inner_text() == "Passphrase of Ann Example"
    context.close()


def test_over_https_the_session_is_kept_and_no_script_reads_it(
    browser: Browser, tmp_path: Path, pacs: FolderPacs
) -> None:
    cert, key = certificate(tmp_path)
    job = Job("demo", tmp_path / "job", LABELS, (Reader("ann"), Reader("bob")), 2)
    selected = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=LABELS)
    backend = LocalLabeling(
        pacs=pacs, keys=KEYS, port=0, tls={"certificate": str(cert), "key": str(key)}
    )
    backend.start(job, selected.path)
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()

    page.goto(backend.links(job)["ann"])
    page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)

    [cookie] = context.cookies()
    assert cookie["name"] == "__Host-cxr_session_demo"
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
    assert page.evaluate("document.cookie") == ""
    context.close()
    backend.close()
