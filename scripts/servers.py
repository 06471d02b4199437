"""Make sure that the tests of a real PACS have one: Debian's packages, installed where one may."""

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = {
    "orthanc": "/usr/sbin/Orthanc",
    "orthanc-dicomweb": "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "orthanc-gdcm": "/usr/share/orthanc/plugins/libOrthancGdcm.so",
    "orthanc-postgresql": "/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so",
    "postgresql": "/usr/lib/postgresql",
    "nginx-light": "/usr/sbin/nginx",
    "libnginx-mod-http-js": "/usr/lib/nginx/modules/ngx_http_js_module.so",
    "dcmtk": "/usr/bin/storescu",
}
"""Package → a file that it brings."""


def main() -> None:
    """Install what is missing by apt, where this is root in a container or in CI."""
    missing = [name for name, file in PACKAGES.items() if not Path(file).exists()]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    # a machine that runs systemd would have an Orthanc and a PostgreSQL started at once
    starts_them = Path("/run/systemd/system").exists() and "CI" not in os.environ
    if os.geteuid() != 0 or not shutil.which("apt-get") or starts_them:
        print(
            f"no {', '.join(missing)}: tests of a real PACS are skipped; sudo {' '.join(command)}"
        )
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=True, env=environment)
    subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    main()
