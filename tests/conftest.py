"""Fixtures every test may use: real radiographs, where there are any, a browser, a portal."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import orthanc_servers
import preloaded as preloading
import pytest
import sites
from chromium import EXECUTABLE, FLAGS
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# a busy machine is slow, which is no property of the code
settings.register_profile("cxr", deadline=None)
settings.load_profile("cxr")
SHARED = Path(__file__).parents[2] / "shared"


@pytest.hookimpl(trylast=True)  # after those not asked for are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none is left to one worker at the end."""
    marks: dict[Path, set[str]] = defaultdict(set)
    for item in items:
        marks[item.path] |= {mark.name for mark in item.iter_markers()}
    items.sort(key=lambda item: ("long" not in marks[item.path], "slow" not in marks[item.path]))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real radiographs beside the checkout."""
    if not (SHARED / "nih-cxr" / "dicom").is_dir():
        pytest.skip("no real radiographs beside the checkout")
    return SHARED


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium, one for all tests of a file."""
    from playwright.sync_api import sync_playwright  # few files need it

    if not Path(EXECUTABLE).exists():
        pytest.skip("no chromium: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=EXECUTABLE, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """A PACS of three images."""
    return sites.filled(tmp_path_factory.mktemp("pacs"))


@pytest.fixture
def site(tmp_path, pacs):
    """Readers ann and bob, three images, two answers each."""
    made = sites.Site(tmp_path, pacs, "ann", "bob")
    yield made
    sites.let_go(made.stop)


@pytest.fixture(scope="module")
def standing(tmp_path_factory, pacs):
    """The same, shared by the tests that change nothing."""
    made = sites.Site(tmp_path_factory.mktemp("standing"), pacs, "ann", "bob")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory):
    """A real Orthanc that tests share: they may add images, and never assume it empty."""
    orthanc_servers.skip_without_orthanc()
    made = orthanc_servers.Server(tmp_path_factory.mktemp("orthanc"))
    yield made
    made.stop()


@pytest.fixture
def own_orthanc(tmp_path):
    """A real, empty Orthanc of one test's own, which it may stop, kill, pause and start again."""
    orthanc_servers.skip_without_orthanc()
    made = orthanc_servers.Server(tmp_path / "orthanc")
    yield made
    made.resume()
    made.stop()


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[preloading.Preloaded]:
    """What starts commands at once, for tests that run many which train; see preloaded.py."""
    made = preloading.Preloaded(tmp_path_factory.mktemp("commands"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def aws():
    """An AWS account on loopback, which all tests of a process share; see tests/aws_double."""
    from aws_double.server import Aws  # few files need moto

    made = Aws()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield made
    made.stop()
