"""Hold the CloudFormation templates to checkov, which lives in a venv of its own: it pins boto3.

    python scripts/checkov.py

What it is not asked, and why, is in .checkov.yaml. The venv is made once, in build/checkov.
"""

import subprocess
import sys
import venv
from pathlib import Path

VERSION = "3.3.30"
ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "checkov"


def main() -> None:
    """Make the venv if there is none of this version, run, and give checkov's own exit code."""
    program, made = FOLDER / "bin" / "checkov", FOLDER / VERSION
    if not made.is_file():
        venv.create(FOLDER, with_pip=True, clear=True)
        pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", f"checkov=={VERSION}"], check=True)
        made.touch()
    done = subprocess.run([program, "--config-file", ".checkov.yaml"], cwd=ROOT, check=False)
    if done.returncode == 0:
        print(f"checkov {VERSION} finds nothing beyond .checkov.yaml")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
