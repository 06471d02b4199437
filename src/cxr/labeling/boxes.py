"""Boxes that somebody drew elsewhere, beside labels that exist already: they become ROIs.

A CSV with one box a row: `sop_instance_uid`, `label`, `x_min`, `y_min`, `x_max`, `y_max` in pixels
of the image, and `worker_id` where it says who drew it; other columns are passed over.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr.contract import annotation
from cxr.contract.annotation import Roi
from cxr.contract.labels import LabelSet
from cxr.errors import JobError, LabelError

_ENDS = ("x_min", "y_min", "x_max", "y_max")
_COLUMNS = ("sop_instance_uid", "label", *_ENDS)
_MOST = 1e6  # pixels; as the page is held to


def read(path: Path, label_set: LabelSet) -> Mapping[str, list[dict[str, Any]]]:
    """Read boxes as a label attribute holds ROIs.

    Returns:
        SOPInstanceUID → ROIs of present findings, in order of the rows.

    Raises:
        JobError: No such file, a column is missing, a label is not in the set, or a box is none.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            if missing := [name for name in _COLUMNS if name not in header]:
                raise JobError(
                    f"{path}: expected columns {', '.join(_COLUMNS)}, met no {missing[0]}"
                )
            for row in reader:
                here = found[row["sop_instance_uid"] or ""]
                roi = _roi(row, f"box-{len(here)}", f"{path}:{reader.line_num}", label_set)
                drawn_by = {"workerId": row.get("worker_id") or "publisher", "measure": None}
                here.append(annotation.roi_document(roi) | drawn_by)
    except OSError as error:
        raise JobError(f"{path}: expected a CSV of boxes, met {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError(f"{path}: expected a CSV of boxes in UTF-8, met {error}") from error
    return found


def _roi(row: Mapping[str, str | None], name: str, place: str, label_set: LabelSet) -> Roi:
    try:
        label = label_set.canonical((row["label"] or "").strip())
        ends = [float(row[end] or "") for end in _ENDS]
    except LabelError as error:
        raise JobError(f"{place}: {error}") from error
    except ValueError as error:
        raise JobError(f"{place}: expected four numbers in {', '.join(_ENDS)}") from error
    left, top, right, bottom = ends
    # so that neither a NaN gets through
    if not (-_MOST < left < right < _MOST and -_MOST < top < bottom < _MOST):
        raise JobError(f"{place}: expected a box from x_min, y_min to a larger x_max, y_max")
    return Roi(name, "rectangle", label, ((left, top), (right, bottom)))
