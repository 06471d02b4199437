"""python -m cxr.ingest: a folder of DICOM files into the PACS, every file checked."""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cxr import config, labeling_schema, schema

if TYPE_CHECKING:
    from cxr.pacs.folder import FolderPacs


def main(cfg: schema.Ingest, _: DictConfig) -> None:
    """Store the good files, list the others."""
    from cxr import root
    from cxr.pacs import opening

    if isinstance(sys.stdout, io.TextIOWrapper):  # file names hold what stdout has no letters for
        sys.stdout.reconfigure(errors="backslashreplace")
    folder = root.prepare(cfg.root)
    with opening.opened(cfg.pacs, root=folder) as pacs:
        if cfg.synthetic:
            _draw(cfg.synthetic, pacs, folder)
        else:
            _ingest(cfg, pacs, folder)


def _draw(wanted: labeling_schema.Synthetic, pacs: "FolderPacs", folder: Path) -> None:
    from cxr.pacs import synthetic

    drawn = synthetic.draw_into(
        pacs, folder / "synthetic" / "truth.csv",
        images=wanted.images, seed=wanted.seed, size=(wanted.rows, wanted.columns),
    )  # fmt: skip
    print(f"{drawn} synthetic radiographs drawn, {pacs.count()} images in {pacs.folder}")
    print("next: python -m cxr.label job=demo_by_hand")


def _ingest(cfg: schema.Ingest, pacs: "FolderPacs", folder: Path) -> None:
    from cxr.pacs import ingest

    report = ingest.ingest(Path(str(cfg.folder)), pacs, workers=cfg.workers or _cores())
    print(f"{report.stored} stored, {report.present} there already, {len(report.refused)} refused")
    for path, reason in report.refused:
        print(f"  {_on_one_line(path)}: {_on_one_line(reason)}")
    if report.refused:
        print(ingest.write_refused(folder / "ingest" / "refused.csv", report))
    print(f"{pacs.count()} images in {pacs.folder}")
    print("next: python -m cxr.label job=… (or python -m cxr.label new=NAME to write one)")


def _cores() -> int:
    """Count the cores this process may use, which in a container are not all of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _on_one_line(text: str) -> str:
    """Escape what a terminal would act on: file names may hold that too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


if __name__ == "__main__":
    config.command("ingest", schema.Ingest, main)
