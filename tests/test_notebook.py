"""The sample notebook, run from top to bottom as a reader would, on a small job."""

import base64
import html
import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import numpy as np
import numpy.typing as npt
import pytest
from nbclient import NotebookClient
from PIL import Image

from cxr.contract import manifest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "scripts" / "notebooks" / "label_and_train.ipynb"
ROIS = [
    {"id": "a", "type": "rectangle", "label": "Pneumonia", "points": [[60, 90], [180, 220]]},
    {"id": "b", "type": "ellipse", "label": "Cardiomegaly",
     "points": [[150, 300], [350, 340], [265, 250], [235, 390]]},
    {"id": "c", "type": "polygon", "label": "Edema", "points": [[280, 90], [380, 120], [300, 240]]},
    {"id": "d", "type": "length", "label": "Fracture", "points": [[100, 400], [200, 420]]},
    {"id": "e", "type": "point", "label": "Lung Lesion", "points": [[330, 180]]},
]  # fmt: skip


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook after it ran on a job of 75 images; one has regions of every type."""
    root = tmp_path_factory.mktemp("notebook")
    patch = pytest.MonkeyPatch()
    patch.setenv("CXR_ROOT", str(root))
    label = ["-m", "cxr.label", "job=demo", "job.synthetic.images=75", "labeling.port=0"]
    subprocess.run([sys.executable, *label], cwd=ROOT, check=True, capture_output=True)
    output = root / "jobs" / "demo" / "manifests" / "output" / "output.manifest"
    lines = list(manifest.read(output))
    lines[0]["demo"]["rois"] = [{**roi, "state": "present", "workerId": "x"} for roi in ROIS]
    manifest.write(output, lines, max_line=None)
    notebook = nbformat.read(NOTEBOOK, 4)
    (settings,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    small = '["data.image_size=[64,64]", "trainer.max_epochs=1", "draws=100", "data.folds=4"]'
    settings.source += f"\nSHOWN = 3\nTRAINING = {small}"
    try:
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(root)}}).execute()
    finally:
        patch.undo()
    (root / "executed.ipynb").write_text(nbformat.writes(notebook))
    return notebook


def outputs(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    found = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return ["".join(out.data[kind]) for out in found if kind in out.get("data", {})]


def pixels(png: str) -> npt.NDArray[np.uint8]:
    return np.array(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


@pytest.mark.slow
def test_images_appear_with_regions_of_every_type(executed: nbformat.NotebookNode) -> None:

    counts, images = map(pixels, outputs(executed, "image/png"))

    vivid = (images.max(axis=2).astype(int) - images.min(axis=2)) > 90
    colours = {tuple(pixel // 32) for pixel in images[vivid]}
    assert min(images.shape[:2]) > 300
    assert len(np.unique(images[~vivid])) > 100  # a radiograph has many greys
    assert len(colours) >= len(ROIS)
    assert counts.shape[1] > 600


@pytest.mark.slow
def test_agreement_metrics_and_report_appear(executed: nbformat.NotebookNode) -> None:
    pages = outputs(executed, "text/html")
    agreement, scored, report = pages
    (frame,) = re.findall(r'srcdoc="(.*?)" sandbox', report, re.DOTALL)

    assert "Pleural Effusion" in agreement
    assert re.search(r"0\.\d\d \[-?\d\.\d\d, \d\.\d\d\]", agreement)
    assert "AUROC" in scored
    assert "Pleural Effusion" in scored
    assert len(outputs(executed, "image/svg+xml")) == 1
    assert "Research use only" in html.unescape(frame)
    assert "<svg" in html.unescape(frame)


@pytest.mark.slow
def test_commands_are_shown_as_one_would_type_them(executed: nbformat.NotebookNode) -> None:
    told = "".join(
        out["text"] for cell in executed.cells for out in cell.get("outputs", []) if "text" in out
    )

    assert "$ python -m cxr.train data.job=demo name=notebook" in told
    assert re.search(r"\d+ images, \d+ of them labelled, 14 labels, 1 with regions", told)
    assert "next: python -m cxr.evaluate run=notebook" in told


@pytest.mark.aws
@pytest.mark.slow
def test_output_of_a_ground_truth_job_is_read_from_its_bucket(
    aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [{"label": name, "state": "present"} for name in ("Edema", "Fracture")]
    line = {
        "source": "s",
        "far": {"schema": manifest.SCHEMA, "findings": findings},
        "far-metadata": manifest.metadata("far", human_annotated=True, created=datetime.now(UTC)),
    }
    bucket = aws.bucket("cxr-notebook")
    aws.client("s3").put_object(Bucket=bucket, Key="o/output.manifest", Body=json.dumps(line))
    monkeypatch.setenv("CXR_ROOT", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, 4)
    (at,) = [i for i, c in enumerate(notebook.cells) if "objects.read(account" in c.source]
    notebook.cells = notebook.cells[: at + 1]
    (settings,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    settings.source += f'\nJOB, MANIFEST = "far", "s3://{bucket}/o/output.manifest"'

    NotebookClient(notebook, timeout=120).execute()

    assert "1 images, 1 of them labelled, 2 labels" in notebook.cells[at].outputs[0].text
    assert (tmp_path / "jobs" / "far" / "manifests" / "output" / "output.manifest").is_file()


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text())

    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert nbformat.validate(nbformat.from_dict(notebook)) is None
    assert sum(cell["cell_type"] == "markdown" for cell in notebook["cells"]) >= 6
