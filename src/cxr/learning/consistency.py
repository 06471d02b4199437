"""Predictions of one image that do not contradict each other.

A net answers every label by itself, so it may find edema likelier than the opacity that edema
is, or a heart enlarged on an image without finding. A parent is raised to its likeliest child;
then No Finding is lowered to what the likeliest finding it excludes leaves of it.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxr.contract.labels import LabelSet

_Float = TypeVar("_Float", bound=np.floating[Any])


@dataclass(frozen=True)
class Rules:
    """What a label set says of probabilities, by columns.

    Attributes:
        parents: A parent's column and those of its children, and of theirs.
        no_finding: The column of No Finding, or None.
        excluded: The columns of findings that cannot be present where No Finding is.
    """

    parents: tuple[tuple[int, tuple[int, ...]], ...]
    no_finding: int | None
    excluded: tuple[int, ...]


def rules(label_set: LabelSet) -> Rules:
    """Give a label set's rules by columns, for whoever applies them without numpy."""
    column = {name: k for k, name in enumerate(label_set.names)}
    # with all that lies below a parent, parents need no order and one pass settles them
    below = {p: _below(p, label_set) for p in label_set.parents if p != label_set.no_finding}
    return Rules(
        tuple(
            (column[parent], tuple(column[child] for child in label_set.names if child in found))
            for parent, found in below.items()
            if found
        ),
        column[label_set.no_finding] if label_set.no_finding else None,
        tuple(column[name] for name in label_set.excluded) if label_set.no_finding else (),
    )


def apply(probabilities: NDArray[_Float], label_set: LabelSet) -> NDArray[_Float]:
    """Raise parents to their likeliest child, and lower No Finding to what findings leave of it.

    Once is enough: applied again, nothing changes. Where nothing conflicts, nothing changes.

    Args:
        probabilities: (N, L) in [0, 1], in label order.
        label_set: Whose labels these are.

    Returns:
        (N, L), a copy.

    >>> two = LabelSet("two", ("Edema", "No Finding"), "No Finding")
    >>> apply(np.array([[0.75, 0.5]]), two).tolist()
    [[0.75, 0.25]]
    """
    said, found = rules(label_set), probabilities.copy()
    for parent, children in said.parents:
        found[:, parent] = probabilities[:, [parent, *children]].max(axis=1)
    if said.no_finding is not None and said.excluded:
        left = 1 - found[:, list(said.excluded)].max(axis=1)
        found[:, said.no_finding] = np.minimum(found[:, said.no_finding], left)
    return found


def _below(parent: str, label_set: LabelSet) -> set[str]:
    """Name all descendants but No Finding, which is no kind of finding."""
    found: set[str] = set()
    ahead = [parent]
    while ahead:
        for child in label_set.parents.get(ahead.pop(), ()):
            if child not in found and child != label_set.no_finding:
                found.add(child)
                ahead.append(child)
    return found - {parent}
