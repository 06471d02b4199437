"""The mean AUROC of runs as CheXclusion's tables have it, in which uncertain labels are absent.

    python scripts/published_mean.py chexclusion-mimic-fold0-seed1 chexclusion-mimic-fold0-seed2 …

A run's headline leaves uncertain labels out, so it is another figure. Here a label that has some is
taken from the report's "Uncertain labels", column "as absent", every other from its findings.
Printed with `No Finding`, which the table of MIMIC-CXR averages in, and without it, as in that of
NIH; a line a run, then their mean.
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any


def aurocs(scored: dict[str, Any]) -> dict[str, float]:
    """Give each label's AUROC with uncertain labels as absent; none where it has one class only.

    Args:
        scored: What metrics.json holds.
    """
    doubted = scored.get("uncertain", {}).get("labels", {})
    found = {
        name: doubted.get(name, {}).get("as_absent", label)["auroc"]
        for name, label in scored["labels"].items()
    }
    return {name: value for name, value in found.items() if value is not None}


def means(scored: dict[str, Any]) -> tuple[float, float]:
    """Give the mean over all labels, and over all but `No Finding`."""
    each = aurocs(scored)
    findings = [v for name, v in each.items() if scored["left_out"].get(name) != "not a finding"]
    return statistics.fmean(each.values()), statistics.fmean(findings)


def main(*runs: str) -> None:
    """Print a table of the runs named."""
    if not runs:
        sys.exit("expected names of runs, met none")
    rows = []
    print("run                                labels  mean   without No Finding")
    for run in runs:
        path = Path(os.environ.get("CXR_ROOT", "var")) / "runs" / run / "metrics.json"
        if not path.is_file():
            sys.exit(f"{path}: expected the figures of a run that has ended, met none")
        scored = json.loads(path.read_text())
        if scored["unit"] != "image":
            sys.exit(f"{run}: expected figures of images, met {scored['unit']}; evaluate again")
        rows.append(means(scored))
        print(
            f"{run:<34} {len(aurocs(scored)):>3}/{len(scored['labels'])}",
            *map("{:.4f}".format, rows[-1]),
        )
    print(
        f"{'mean of ' + str(len(rows)):<34}       ",
        *(f"{statistics.fmean(c):.4f}" for c in zip(*rows, strict=True)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
