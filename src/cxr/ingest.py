"""python -m cxr.ingest: a folder of DICOM files into the PACS, every file checked."""

import os
from pathlib import Path

from omegaconf import DictConfig

from cxr import config, schema


def main(cfg: schema.Ingest, _: DictConfig) -> None:
    """Store the good files, list the others."""
    from cxr import root
    from cxr.pacs import ingest
    from cxr.pacs.folder import FolderPacs

    folder = root.prepare(cfg.root)
    pacs = FolderPacs(Path(cfg.pacs.folder))
    if cfg.synthetic:
        from cxr.pacs import synthetic

        drawn = synthetic.draw_into(
            pacs, folder / "synthetic" / "truth.csv", images=cfg.synthetic.images,
            seed=cfg.synthetic.seed, size=(cfg.synthetic.rows, cfg.synthetic.columns),
        )  # fmt: skip
        print(f"{drawn} synthetic radiographs drawn, {pacs.count()} images in {cfg.pacs.folder}")
        print("next: python -m cxr.label job=demo_by_hand")
        return
    report = ingest.ingest(Path(str(cfg.folder)), pacs, workers=cfg.workers or os.cpu_count() or 1)
    print(f"{report.stored} stored, {report.present} there already, {len(report.refused)} refused")
    for path, reason in report.refused:
        print(f"  {path}: {reason}")
    if report.refused:
        print(ingest.write_refused(folder / "ingest" / "refused.csv", report))
    print(f"{pacs.count()} images in {cfg.pacs.folder}")
    print("next: python -m cxr.label job=… (or python -m cxr.label new=NAME to write one)")


if __name__ == "__main__":
    config.command("ingest", schema.Ingest, main)
