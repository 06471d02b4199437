"""The wheel alone, installed as a user would, in another folder with nothing of the checkout."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from cxr.images import synth

CHECKOUT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.long]


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CXR_ROOT")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it with the pinned dependencies; gives its python."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", CHECKOUT, cwd=folder
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    done = run(
        python, "-m", "pip", "install", "-q", "-c", CHECKOUT / "constraints.txt", wheel, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return python


def test_a_wheel_labels_trains_and_evaluates_far_from_its_checkout(
    installed: Path, tmp_path: Path
) -> None:
    label = run(
        installed, "-m", "cxr.label", "job=demo", "job.synthetic.images=60",
        "labeling.port=0", cwd=tmp_path,
    )  # fmt: skip
    assert label.returncode == 0, label.stderr
    assert "56/56 labelled" in label.stdout

    train = run(
        installed, "-m", "cxr.train", "experiment=demo", "trainer.max_epochs=1", "name=first",
        "data.image_size=[64,64]", "draws=100", cwd=tmp_path,
    )  # fmt: skip
    assert train.returncode == 0, train.stderr
    assert (tmp_path / "var" / "runs" / "first" / "report.html").is_file()

    again = run(
        installed, "-m", "cxr.evaluate", "run=first", "data=job", "data.job=demo", "draws=100",
        cwd=tmp_path,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr


def test_a_conf_folder_here_precedes_the_shipped_one(installed: Path, tmp_path: Path) -> None:
    new = run(installed, "-m", "cxr.label", "new=chest", cwd=tmp_path)
    assert new.returncode == 0, new.stderr
    own = tmp_path / "conf" / "job" / "demo.yaml"
    own.write_text((tmp_path / "conf" / "job" / "chest.yaml").read_text().replace("chest", "mine"))

    listed = run(installed, "-m", "cxr.label", "job=chest", "--cfg", "job", cwd=tmp_path)
    shadowed = run(installed, "-m", "cxr.label", "job=demo", "--cfg", "job", cwd=tmp_path)

    assert "name: chest" in listed.stdout
    assert "name: mine" in shadowed.stdout


def test_a_wheel_checks_files_and_writes_the_page(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.dcm").write_bytes(synth.draw(0, size=(64, 56))[0])

    done = run(installed, "-m", "cxr.ingest", "folder=in", "check=true", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "would be stored" in (tmp_path / "var" / "ingest" / "report.html").read_text()


def test_nothing_under_gpl_is_installed(installed: Path, tmp_path: Path) -> None:
    script = (
        "import importlib.metadata as m\n"
        "for d in m.distributions():\n"
        "    told = [d.metadata.get('License-Expression') or '', d.metadata.get('License') or '']\n"
        "    told += d.metadata.get_all('Classifier') or []\n"
        "    text = ' '.join(t[:200] for t in told)\n"
        "    if 'GPL' in text and 'LGPL' not in text: print(d.name, text[:100])\n"
    )

    met = run(installed, "-c", script, cwd=tmp_path)

    assert met.returncode == 0, met.stderr
    assert met.stdout == ""
