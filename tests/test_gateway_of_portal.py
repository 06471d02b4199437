"""A portal whose images come from another server: what its pages may load, and what it checks."""

import re

import httpx
import pytest
from sites import KEYS, Site, filled

from cxr.infra import http
from cxr.labeling.portal import access, gateway
from cxr.pacs import server
from cxr.pacs.folder import FolderPacs


class Beside:
    """A portal, and a gateway to its images on a port of its own.

    Attributes:
        site: The portal.
        gateway: The other server's address.
    """

    def __init__(self, folder, *, allowed=True):
        filled(folder / "pacs").close()
        listener = http.bind("127.0.0.1", 0, key="port")
        self.gateway = listener.url
        pacs = FolderPacs(folder / "pacs", keys=KEYS, url=self.gateway)
        self.site = Site(folder / "job", pacs, "ann", "bob")
        origins = [self.site.url] if allowed else []
        self.served = http.Background(server.app(pacs, KEYS, allowed_origins=origins), listener)

    def stop(self):
        self.served.stop()
        self.site.stop()


@pytest.fixture
def beside(tmp_path):
    made = Beside(tmp_path)
    yield made
    made.stop()


def test_a_page_may_load_from_the_gateway_and_from_nowhere_else(beside):
    client = beside.site.client("ann")

    response = client.get("/task")

    policy = response.headers["content-security-policy"]
    assert f"connect-src 'self' {beside.gateway};" in policy
    assert re.findall(r"https?://[^ ;]+", policy) == [beside.gateway]


def test_links_lead_to_the_gateway_and_the_portal_serves_no_image(beside):
    client = beside.site.client("ann")

    task = client.get("/api/task").json()["task"]["input"]

    assert task["imageUrl"].startswith(f"{beside.gateway}/instances/{task['source']}/file?token=")
    image = httpx.get(task["imageUrl"], headers={"Origin": beside.site.url})
    assert image.status_code == 200
    assert image.headers["access-control-allow-origin"] == beside.site.url
    query = task["imageUrl"].partition("?")[2]
    assert client.get(f"/pacs/instances/{task['source']}/file?{query}").status_code == 404


def test_a_gateway_that_lets_the_portal_in_is_no_problem(beside):
    assert gateway.problem(beside.gateway, beside.site.url) is None


def test_a_gateway_that_is_not_there_is_named_with_its_key():
    listener = http.bind("127.0.0.1", 0, key="port")
    listener.socket.close()
    address = listener.url

    said = gateway.problem(address, "http://127.0.0.1:8300")

    assert said.startswith("pacs.image_url: expected the gateway that readers load images from")
    assert address in said


def test_a_gateway_that_knows_other_pages_only_is_named_with_its_key(beside):
    said = gateway.problem(beside.gateway, "http://localhost:1")

    assert said.startswith("pacs.allowed_origins: expected 'http://localhost:1'")


def test_readers_elsewhere_cannot_reach_a_gateway_of_this_machine():
    said = gateway.problem("http://127.0.0.1:8043", "https://portal.example.org")

    assert said.startswith("pacs.image_url: expected an address that those who open https://portal")


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_shows_an_image_from_the_gateway(beside, browser):
    page = browser.new_page()
    met = []
    page.on("request", lambda request: met.append(request.url))

    page.goto(access.link(beside.site.job, KEYS, beside.site.url, "ann"))
    page.wait_for_selector('html[data-cxr-ready="1"]', timeout=20_000)
    page.close()

    assert [url for url in met if url.startswith(f"{beside.gateway}/instances/")]
    ours = (beside.gateway, beside.site.url, "blob:", "data:")
    assert [url for url in met if not url.startswith(ours)] == []


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("way", ["down", "other origin"])
def test_a_gateway_out_of_reach_is_said_on_the_page(tmp_path, browser, way):
    beside = Beside(tmp_path, allowed=way == "down")
    if way == "down":
        beside.served.stop()
    page = browser.new_page()

    page.goto(access.link(beside.site.job, KEYS, beside.site.url, "ann"))
    said = page.get_by_text("its server cannot be reached").first
    said.wait_for(timeout=20_000)
    text = said.inner_text()
    page.close()

    assert text == "The image cannot be shown: its server cannot be reached."
    beside.stop()
