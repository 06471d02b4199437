"""Which image is trained on, validated on, tested on: decided per patient, never per image.

The same patients, labels and seed give the same answer whatever the order of the rows, so that a
manifest written by another backend splits alike. One more patient may move others.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning import predictions

SPLITS = ("train", "val", "test")


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
    for patient, number in zip(patients, _stratify(had, folds, seed), strict=True):
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
        raise DataError('test="list": none of the listed test patients is in this data')
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


def _stratify(had: NDArray[np.bool_], folds: int, seed: int) -> NDArray[np.intp]:
    """Give each row of (P, L) a fold, 0 to folds - 1."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    # the stratifier takes no single column; an empty one beside it changes nothing
    strata = np.column_stack([had, np.zeros(len(had))]).astype(int)
    kfold = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    numbers = np.zeros(len(had), dtype=np.intp)
    for number, (_, held_out) in enumerate(kfold.split(np.zeros(len(had)), strata)):
        numbers[held_out] = number
    return numbers


def check_leaks(
    splits: Sequence[str] | NDArray[np.str_],
    patient_ids: Sequence[str],
    study_instance_uids: Sequence[str],
    pixel_hashes: Sequence[str] | None = None,
    *,
    pseudonym: Callable[[str], str] | None = None,
) -> None:
    """Refuse splits that share a patient, a study or the very same pixels.

    Args:
        splits: (N)
        patient_ids: (N)
        study_instance_uids: (N); empty ones are not compared.
        pixel_hashes: (N) of the decoded pixels, or None.
        pseudonym: Makes an identifier fit for logs; without it only the number is told.

    Raises:
        DataError: Something is in two splits; names the first one under its pseudonym.
    """
    for what, keys in (
        ("patient", patient_ids),
        ("study", study_instance_uids),
        ("image content", pixel_hashes or ()),
    ):
        seen: dict[str, set[str]] = {}
        for key, role in zip(keys, splits, strict=False):
            if key:
                seen.setdefault(key, set()).add(str(role))
        shared = {key: roles for key, roles in seen.items() if len(roles) > 1}
        if shared:
            key, roles = next(iter(shared.items()))
            name = f" {pseudonym(key)}" if pseudonym else ""
            raise DataError(
                f"leak: {len(shared)} of {len(seen)} are in two splits; the first: "
                f"{what}{name} is in {' and '.join(sorted(roles))}"
            )


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
