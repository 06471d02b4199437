"""What Orthanc is told, for every section that a config may have."""

import json
from pathlib import Path

import orthanc_servers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr import config, schema
from cxr.errors import ConfigError
from cxr.infra.orthanc import settings

FOLDER = Path("/srv/cxr/orthanc")
LETTERS = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\")
TITLES = st.text(LETTERS, min_size=1, max_size=16)
ADDRESSES = st.ip_addresses(v=4).map(str)


def told(**changes):
    section = orthanc_servers.section(FOLDER, **changes)
    return json.loads(settings.text(section, FOLDER, password="drawn", plugins=[Path("/a.so")]))


def test_nothing_but_its_own_user_on_this_machine_is_let_in():
    said = told()

    closed = [
        "RemoteAccessAllowed", "ExecuteLuaEnabled", "RestApiWriteToFileSystemEnabled",
        "WebDavEnabled", "OverwriteInstances", "DicomServerEnabled", "SaveJobs",
    ]  # fmt: skip
    assert not any(said[key] for key in closed)
    assert said["AuthenticationEnabled"]
    assert said["RegisteredUsers"] == {"cxr": "drawn"}
    assert said["HttpBindAddresses"] == ["127.0.0.1"]
    assert said["Plugins"] == ["/a.so"]
    assert said["DicomModalities"] == {}


def test_peers_are_told_of_only_where_dimse_is_on():
    peers = [{"aet": "XRAY1", "address": "10.1.2.3", "port": 104}]

    assert told(peers=peers)["DicomModalities"] == {}
    assert told(peers=peers, dimse=True)["DicomServerEnabled"]


@given(st.dictionaries(TITLES, ADDRESSES, min_size=1, max_size=5))
def test_whoever_is_listed_may_echo_and_store_and_nothing_else(senders):
    peers = [{"aet": title, "address": address, "port": 104} for title, address in senders.items()]

    said = told(dimse=True, peers=peers)

    modalities = said["DicomModalities"].values()
    assert {peer["AET"]: peer["Host"] for peer in modalities} == senders
    for peer in modalities:
        assert {key for key, value in peer.items() if value is True} == {"AllowEcho", "AllowStore"}
    for key, value in said.items():
        assert not (key.startswith("DicomAlwaysAllow") and value)
    assert said["DicomCheckModalityHost"]
    assert said["DicomCheckCalledAet"]
    assert said["StrictAetComparison"]


@pytest.mark.parametrize(
    ("url", "met"),
    [
        ("http://127.0.0.1:8042", ("127.0.0.1", 8042)),
        ("http://localhost:9042/", ("127.0.0.1", 9042)),
        ("http://127.0.0.3", ("127.0.0.3", 80)),
    ],
)
def test_a_url_of_this_machine_gives_where_to_listen(url, met):
    assert settings.endpoint(url) == met


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:8042",
        "http://10.1.2.3:8042",
        "http://127.0.0.1:8042/pacs",
        "http://[::1]:1",
    ],
)
def test_any_other_url_is_refused_by_its_key(url):
    with pytest.raises(ConfigError, match=r"^pacs\.url: expected .*127\.0\.0\.1"):
        settings.endpoint(url)


def test_two_senders_of_one_title_are_refused():
    # Orthanc would hold both to the first one's address
    peers = [{"aet": "A", "address": f"10.1.1.{i}", "port": 104} for i in (1, 2)]

    with pytest.raises(ValueError, match='peers: expected each AE title once, met "A" again'):
        told(dimse=True, peers=peers)


def test_only_an_orthanc_can_be_run():
    with pytest.raises(ConfigError, match=r"^pacs: expected orthanc or an option made of it"):
        config.check(config.compose("orthanc", ["verb=up", "pacs=folder"]), schema.Orthanc)
