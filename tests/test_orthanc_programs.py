"""Where servers' programs are looked for, and what is said when they are not there."""

import re
from pathlib import Path

import pytest

from cxr.errors import ConfigError
from cxr.infra.orthanc import programs

DEBIAN = Path("/usr/lib/postgresql")


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("Orthanc", "orthanc orthanc-dicomweb orthanc-gdcm"),
        ("libOrthancGdcm.so", "orthanc orthanc-dicomweb orthanc-gdcm"),
        ("libOrthancPostgreSQLIndex.so", "orthanc-postgresql postgresql"),
        ("initdb", "orthanc-postgresql postgresql"),
        ("nginx", "nginx-light libnginx-mod-http-js"),
    ],
)
def test_what_is_missing_names_every_package_of_its_part(name, packages):
    said = str(programs.missing(name))

    assert said.startswith(f"expected {name} of Debian's ")
    assert said.endswith(f"run: apt-get install --no-install-recommends {packages}")


def test_a_program_that_is_nowhere_is_an_error():
    with pytest.raises(ConfigError, match="expected no-such-server of Debian's"):
        programs.program("no-such-server")
    with pytest.raises(ConfigError, match=r"expected libNone\.so of Debian's"):
        programs.plugin("libNone.so")


def test_a_folder_of_ones_own_comes_before_debians(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_ORTHANC", str(tmp_path))
    with pytest.raises(ConfigError, match=f"a folder with Orthanc, met '{tmp_path}'"):
        programs.orthanc()

    for name in ("Orthanc", "libOrthancDicomWeb.so"):
        (tmp_path / name).touch(mode=0o700)

    assert programs.orthanc() == tmp_path / "Orthanc"
    assert programs.plugin("libOrthancDicomWeb.so") == tmp_path / "libOrthancDicomWeb.so"


@pytest.mark.orthanc
@pytest.mark.skipif("not DEBIAN.is_dir()", reason="no PostgreSQL: apt-get install postgresql")
def test_a_cluster_of_another_postgresql_names_the_package_to_install(tmp_path):
    newest = programs.postgresql(tmp_path)
    (tmp_path / "PG_VERSION").write_text("9\n")

    assert (newest / "initdb").exists()
    message = re.escape(f"{tmp_path}: expected PostgreSQL 9, which made it, met ")
    with pytest.raises(ConfigError, match=f"{message}.* postgresql-9$"):
        programs.postgresql(tmp_path)


def test_versions_are_compared_by_number():
    assert programs.version("1.9.7") < programs.version("1.10.1") < programs.OLDEST_SAFE
    assert programs.version("mainline") > programs.OLDEST_SAFE
