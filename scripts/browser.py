"""Make sure that the browser tests have a Chromium: Debian's package, installed where one may."""

import os
import shutil
import subprocess

EXECUTABLE = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
"""For the scripts that open it."""


def main() -> None:
    """Install chromium by apt where it is missing and this is root on Debian."""
    if shutil.which("chromium"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("no chromium: the browser tests are skipped; sudo apt-get install chromium")
        return
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"]
    subprocess.run(["apt-get", "update", "-q"], check=True)
    subprocess.run([*command, "fonts-dejavu-core"], check=True)


if __name__ == "__main__":
    main()
