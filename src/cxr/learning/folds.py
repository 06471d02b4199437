"""Which image is trained on, validated on, tested on: decided per patient, never per image.

The same patients, labels and seed give the same answer whatever the order of the rows, so that a
manifest written by another backend splits alike. One more patient may move others.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning import predictions

SPLITS = ("train", "val", "test")
LEAKS = "leaks"
"""Folder of the data root: which images leaked into which run, a table a run."""


def split(
    patient_ids: Sequence[str],
    targets: NDArray[np.floating[Any]],
    mask: NDArray[np.bool_],
    *,
    folds: int = 5,
    fold: int = 0,
    test: Literal["fold", "list", "none"] = "fold",
    test_patients: Collection[str] = (),
    seed: int = 42,
) -> NDArray[np.str_]:
    """Divide patients into folds with like shares of every finding, and give each fold a role.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011) over what each patient ever had.

    Args:
        patient_ids: (N)
        targets: (N, L) of 0 and 1.
        mask: (N, L); masked entries count as absent.
        folds: How many, at least 2.
        fold: Which one plays its role, 0 to folds - 1.
        test: `fold`: `fold` is test and the next one val; `list`: `test_patients` are test and
            `fold` of the others is val; `none`: `fold` is val, nothing is test.
        test_patients: For `list`; those not among the patients are passed over.
        seed: Another seed, other folds.

    Returns:
        (N) of `train`, `val`, `test`.

    Raises:
        DataError: Too few patients or folds, or no listed patient is here.
    """
    listed = set(test_patients) if test == "list" else set()
    rows_of: dict[str, list[int]] = {}
    for row, patient in enumerate(patient_ids):
        rows_of.setdefault(patient, []).append(row)
    patients = sorted(set(rows_of) - listed, key=lambda p: _order(p, seed))
    _check(folds, fold, test, patients, listed.intersection(rows_of))
    present = np.asarray(targets > 0) & mask
    had = np.array([present[rows_of[patient]].any(axis=0) for patient in patients])
    role = _roles(folds, fold, test)
    splits = np.full(len(patient_ids), "test", dtype="<U5")
    for patient, number in zip(patients, stratify(had, folds, seed), strict=True):
        splits[rows_of[patient]] = role[number]
    return splits


def _check(
    folds: int, fold: int, test: str, patients: Collection[str], listed: Collection[str]
) -> None:
    least = 3 if test == "fold" else 2
    if folds < least or not 0 <= fold < folds:
        raise DataError(
            f'expected at least {least} folds with test="{test}", and a fold from 0 to folds - 1, '
            f"met folds={folds} fold={fold}"
        )
    if test == "list" and not listed:
        raise DataError(
            "data.test_list: expected PatientIDs of this data, one a line, met none of them; "
            "correct the list, or choose data.test=fold"
        )
    if len(patients) < folds:
        raise DataError(
            f"expected at least {folds} patients for {folds} folds, met {len(patients)}; "
            "lower the number of folds"
        )


def _order(patient_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()


def _roles(folds: int, fold: int, test: str) -> list[str]:
    role = ["train"] * folds
    role[fold] = "test" if test == "fold" else "val"
    if test == "fold":
        role[(fold + 1) % folds] = "val"
    return role


def stratify(had: NDArray[np.bool_], folds: int, seed: int) -> NDArray[np.intp]:
    """Give each row of (P, L) a fold, 0 to folds - 1, with like shares of every column."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    # the stratifier takes no single column; an empty one beside it changes nothing
    strata = np.column_stack([had, np.zeros(len(had))]).astype(int)
    kfold = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    numbers = np.zeros(len(had), dtype=np.intp)
    for number, (_, held_out) in enumerate(kfold.split(np.zeros(len(had)), strata)):
        numbers[held_out] = number
    return numbers


@dataclass(frozen=True)
class Leak:
    """Something that is in more than one split.

    Attributes:
        what: `patient`, `study` or `picture`.
        rows: All images that share it.
    """

    what: str
    rows: tuple[int, ...]


def leaks(
    splits: Sequence[str] | NDArray[np.str_], keys_of: Mapping[str, Sequence[str]]
) -> list[Leak]:
    """Find what is in more than one split, patients first.

    Args:
        splits: (N)
        keys_of: What → (N) of it; empty ones are not compared.
    """
    found = []
    for what, keys in keys_of.items():
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            if key:
                rows.setdefault(key, []).append(row)
        torn = [some for some in rows.values() if len({str(splits[row]) for row in some}) > 1]
        found += [Leak(what, tuple(some)) for some in torn]
    return found


def check_leaks(
    splits: Sequence[str] | NDArray[np.str_],
    patient_ids: Sequence[str],
    study_instance_uids: Sequence[str],
    pixel_hashes: Sequence[str] | None = None,
    *,
    sop_instance_uids: Sequence[str] | None = None,
    pseudonym: Callable[[str], str] | None = None,
    table: Path | None = None,
) -> None:
    """Refuse splits that share a patient, a study or the very same pixels.

    Args:
        splits: (N)
        patient_ids: (N)
        study_instance_uids: (N); empty ones are not compared.
        pixel_hashes: (N) of the decoded pixels, or None.
        sop_instance_uids: (N), to say which images these are.
        pseudonym: Makes an identifier fit for logs; without it only the number is told.
        table: Where to write which images the pseudonyms are; not where the others are missing.

    Raises:
        DataError: Something is in two splits; names some under their pseudonyms.
    """
    keys_of = {"patient": patient_ids, "study": study_instance_uids, "picture": pixel_hashes or ()}
    found = leaks(splits, keys_of)
    if not found:
        return
    what = found[0].what
    alike = [leak for leak in found if leak.what == what]
    several, advice = _ADVICE[what]
    said = f"leak: {len(alike)} of {len(set(keys_of[what]) - {''})} {several} are in two splits"
    if pseudonym is not None and sop_instance_uids is not None:
        named = pseudonyms(patient_ids, sop_instance_uids, pseudonym)
        said += ": " + "; ".join(_sides(leak, splits, named) for leak in alike[:_NAMED])
        said += f"; and {len(alike) - _NAMED} more" if len(alike) > _NAMED else ""
        if table is not None:
            rows = [(leak.what, row) for leak in found for row in leak.rows]
            ids = patient_ids, study_instance_uids, sop_instance_uids
            write_leaks(table, rows, splits, named, ids)
            said += f"; {table} says which images these are"
    raise DataError(f"{said}; {advice}")


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NAMED = 3
_DIGITS = 12  # of a pseudonym: enough to find it again
_ADVICE = {
    "patient": ("patients", "give each patient one split in the table of data.split"),
    "study": (
        "studies",
        "a study is one patient's, so correct the PatientID in the PACS, leave one side out of "
        "the job, or give both one split by data.split",
    ),
    "picture": (
        "pictures",
        "the same pixels are a copy, or one person registered twice, so leave one side out of the "
        "job, or give both patients one split by data.split",
    ),
}


def pseudonyms(
    patient_ids: Sequence[str],
    sop_instance_uids: Sequence[str],
    pseudonym: Callable[[str], str],
) -> list[tuple[str, str]]:
    """Give what stands for patient and image of each row, as short as in logs."""
    return [
        (pseudonym(patient)[:_DIGITS], pseudonym(image)[:_DIGITS])
        for patient, image in zip(patient_ids, sop_instance_uids, strict=True)
    ]


def _sides(
    leak: Leak, splits: Sequence[str] | NDArray[np.str_], named: Sequence[tuple[str, str]]
) -> str:
    """Name the first image of each split."""
    first = {str(splits[row]): row for row in reversed(leak.rows)}
    return " and ".join(
        f"image {named[row][1]} of patient {named[row][0]} in {role}"
        for role, row in sorted(first.items())
    )


def write_leaks(
    table: Path,
    rows: Sequence[tuple[str, int]],
    splits: Sequence[str] | NDArray[np.str_],
    named: Sequence[tuple[str, str]],
    ids: tuple[Sequence[str], Sequence[str], Sequence[str]],
) -> None:
    """Write which images the pseudonyms of a leak are; patient data, for nobody but the user.

    Args:
        table: A CSV file; its folder is made.
        rows: What is shared, and the number of an image that shares it.
        splits: (N)
        named: (N) pseudonyms of patient and image.
        ids: (N) PatientIDs, StudyInstanceUIDs and SOPInstanceUIDs.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ["shared", "split", "patient", "image", "patient_id", "study_instance_uid", predictions.KEY]
    )
    for what, row in rows:
        # a spreadsheet would run a PatientID that begins like a formula
        cells = ("'" + of[row] if of[row].startswith(_FORMULA) else of[row] for of in ids)
        lines.writerow([what, str(splits[row]), *named[row], *cells])
    table.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    predictions.replace_text(table, text.getvalue())
    table.chmod(0o600)


def save(
    path: Path, sop_instance_uids: Sequence[str], splits: Sequence[str] | NDArray[np.str_]
) -> None:
    """Write one row per image, its SOPInstanceUID and its split; whole or not at all."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["sop_instance_uid", "split"])
    rows.writerows(zip(sop_instance_uids, map(str, splits), strict=True))
    predictions.replace_text(path, text.getvalue())


def load(path: Path) -> Mapping[str, str]:
    """Read what `save` wrote: SOPInstanceUID → split.

    Raises:
        DataError: No such file, or it is not of this form, or names an image twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        splits = {row["sop_instance_uid"]: row["split"] for row in rows}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected columns sop_instance_uid and split") from error
    if len(splits) < len(rows):
        raise DataError(f"{path}: expected each image once, met {len(rows) - len(splits)} again")
    if odd := set(splits.values()) - set(SPLITS):
        raise DataError(f"{path}: expected train, val or test, met {sorted(map(str, odd))[0]!r}")
    return splits
