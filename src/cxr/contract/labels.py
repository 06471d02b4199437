"""Which findings are asked about, in which order, and what can be said of one.

The order of a label set is the column order everywhere: manifest, targets, logits, tables.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, TypeGuard, get_args

from cxr.errors import LabelError

NO_FINDING = "No Finding"
MAX_NAME = 80
"""Characters in one label name; a manifest line must stay below 100 KB."""
Silence = Literal["zeros", "ignore"]
"""What a text's silence about a finding means: absent, or nothing."""


class State(StrEnum):
    """What one answer, or one source, says of one finding.

    The first three are answers. `not_mentioned`: a text said nothing of it; `not_asked`:
    nobody was asked. Only the target policy of training turns any of them into a number.
    """

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    NOT_MENTIONED = "not_mentioned"
    NOT_ASKED = "not_asked"


ANSWERS = (State.PRESENT, State.ABSENT, State.UNCERTAIN)


@dataclass(frozen=True)
class LabelSet:
    """Ordered label names, with what follows from what.

    Attributes:
        name: Of the set, such as `mimic_cxr`.
        names: In column order; `no_finding` is one of them or absent.
        no_finding: The label that says every other finding is absent, or None.
        compatible: Labels that may be present beside `no_finding`.
        parents: Parent name → names of its children; a child present implies its parent.
        aliases: Other names for the same finding → the name in this set.
        not_mentioned: What training makes of a finding no word was said of, unless it is told
            otherwise: `zeros` takes it for absent, `ignore` for unknown.

    Raises:
        LabelError: Names repeat, are empty, too long, hold a comma, or refer to none of the set.
    """

    name: str
    names: tuple[str, ...]
    no_finding: str | None = None
    compatible: tuple[str, ...] = ()
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    not_mentioned: Silence = "zeros"

    def __post_init__(self) -> None:
        if self.not_mentioned not in get_args(Silence):
            raise LabelError(
                f"label set {self.name!r}: expected not_mentioned as zeros or ignore, "
                f"met {self.not_mentioned!r}"
            )
        if not self.names:
            raise LabelError(f"label set {self.name!r}: expected at least one name, met none")
        for name in self.names:
            # the manifest's `labels` is one comma-separated string
            if not name.strip() or name != name.strip() or "," in name or len(name) > MAX_NAME:
                raise LabelError(
                    f"label set {self.name!r}: expected a name of 1 to {MAX_NAME} characters "
                    f"without a comma, met {name!r}"
                )
        folded = [_folded(name) for name in self.names]
        if len(set(folded)) != len(folded):
            twice = next(n for n in self.names if folded.count(_folded(n)) > 1)
            raise LabelError(f"label set {self.name!r}: {twice!r} stands there twice")
        referred = [*self.parents, *(c for cs in self.parents.values() for c in cs)]
        referred += [*self.aliases.values(), *self.compatible]
        referred += [self.no_finding] if self.no_finding else []
        for name in referred:
            if name not in self.names:
                raise LabelError(f"label set {self.name!r}: {name!r} is not one of its names")

    @property
    def findings(self) -> tuple[str, ...]:
        """The names without `no_finding`, in order."""
        return tuple(name for name in self.names if name != self.no_finding)

    @property
    def excluded(self) -> tuple[str, ...]:
        """The findings that cannot be present where `no_finding` is, in order."""
        return tuple(name for name in self.findings if name not in self.compatible)

    def canonical(self, name: str) -> str:
        """Find the set's own spelling of `name`, by case, alias or underscores.

        Raises:
            LabelError: No such label.

        >>> nih14 = LabelSet("nih14", ("Effusion",), aliases={"Pleural Effusion": "Effusion"})
        >>> nih14.canonical("pleural effusion")
        'Effusion'
        """
        if name in self.names:
            return name  # as nearly always; a job of 50,000 answers asks 700,000 times
        spelled = {_folded(alias): n for alias, n in self.aliases.items()}
        spelled |= {_folded(n): n for n in self.names}
        found = spelled.get(_folded(name))
        if found is None:
            near = difflib.get_close_matches(_folded(name), spelled, n=1)
            hint = f"; did you mean {spelled[near[0]]!r}?" if near else ""
            raise LabelError(f"no label {name!r} in label set {self.name!r}{hint}")
        return found

    def contradictions(self, states: Mapping[str, State]) -> list[str]:
        """Name each child that is present while its parent is absent.

        >>> few = LabelSet("few", ("Edema", "Lung Opacity"), parents={"Lung Opacity": ("Edema",)})
        >>> few.contradictions({"Edema": State.PRESENT, "Lung Opacity": State.ABSENT})
        ['Edema is present but its parent Lung Opacity is absent']
        """
        return [
            f"{child} is present but its parent {parent} is absent"
            for parent, children in self.parents.items()
            for child in children
            if states.get(child) is State.PRESENT and states.get(parent) is State.ABSENT
        ]


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def follow_no_finding(labels: LabelSet, states: Mapping[str, State]) -> State:
    """Say what `No Finding` is, given every other finding.

    Returns:
        Absent if an excluded finding is present; present if all are absent; uncertain if one
        is; otherwise not_mentioned or not_asked, as the weakest of them.
    """
    others = {states.get(name, State.NOT_ASKED) for name in labels.excluded}
    for state, follows in (
        (State.PRESENT, State.ABSENT),
        (State.UNCERTAIN, State.UNCERTAIN),
        (State.NOT_ASKED, State.NOT_ASKED),
        (State.NOT_MENTIONED, State.NOT_MENTIONED),
    ):
        if state in others:
            return follows
    return State.PRESENT


def from_names(names: Sequence[str], name: str = "manifest") -> LabelSet:
    """Make a label set of bare names, with the usual meaning of `No Finding`.

    >>> from_names(["Edema", "Support Devices", "No Finding"]).excluded
    ('Edema',)
    """
    no_finding = next((n for n in names if n.casefold() == NO_FINDING.casefold()), None)
    devices = tuple(n for n in names if n.casefold() == "support devices")
    return LabelSet(name, tuple(names), no_finding, devices if no_finding else ())


def restricted(labels: LabelSet, names: Sequence[str]) -> LabelSet:
    """Give what a label set says of these names alone, in their order; others are new to it.

    >>> few = LabelSet("few", ("Edema", "No Finding"), "No Finding")
    >>> restricted(few, ["Mass", "Edema"])
    LabelSet(name='few', names=('Mass', 'Edema'), no_finding=None, compatible=(), parents={}, \
aliases={}, not_mentioned='zeros')
    """
    kept = set(names)
    below = {p: tuple(c for c in cs if c in kept) for p, cs in labels.parents.items() if p in kept}
    return replace(
        labels,
        names=tuple(names),
        no_finding=labels.no_finding if labels.no_finding in kept else None,
        compatible=tuple(name for name in labels.compatible if name in kept),
        parents={parent: children for parent, children in below.items() if children},
        aliases={alias: name for alias, name in labels.aliases.items() if name in kept},
    )


def to_data_object(labels: LabelSet) -> dict[str, Any]:
    """Give the keys of a manifest line that carry a label set to page and Lambdas."""
    keys: dict[str, Any] = {"labels": ",".join(labels.names), "label-set": labels.name}
    if labels.parents:
        keys["label-parents"] = {parent: list(cs) for parent, cs in labels.parents.items()}
    if labels.aliases:
        keys["label-aliases"] = dict(labels.aliases)
    usual = from_names(labels.names)
    if (labels.no_finding, labels.compatible) != (usual.no_finding, usual.compatible):
        keys["label-no-finding"] = labels.no_finding
        keys["label-compatible"] = list(labels.compatible)
    if labels.not_mentioned != "zeros":
        keys["label-not-mentioned"] = labels.not_mentioned
    return keys


def from_data_object(data_object: Mapping[str, Any]) -> LabelSet:
    """Read the label set that a manifest line carries.

    `labels` may be a comma-separated string or a list; the other keys are ours and optional,
    so the three lines of the public sample are read too.

    Raises:
        LabelError: There is no `labels`, or it is not a label set.
    """
    value = data_object.get("labels")
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if not _strings(value):
        raise LabelError(f'expected "labels" as comma-separated names or a list, met {value!r}')
    plain = from_names(value, str(data_object.get("label-set", "manifest")))
    parents = data_object.get("label-parents", {})
    if not isinstance(parents, dict) or not all(map(_strings, parents.values())):
        raise LabelError(f'expected "label-parents" as parent: [children], met {parents!r}')
    compatible = data_object.get("label-compatible", plain.compatible)
    if not _strings(compatible):
        raise LabelError(f'expected "label-compatible" as a list of names, met {compatible!r}')
    aliases = data_object.get("label-aliases", {})
    if not isinstance(aliases, dict) or not _strings([*aliases, *aliases.values()]):
        raise LabelError(f'expected "label-aliases" as alias: name, met {aliases!r}')
    no_finding = data_object.get("label-no-finding", plain.no_finding)
    if no_finding is not None and not isinstance(no_finding, str):
        raise LabelError(f'expected "label-no-finding" as a name or null, met {no_finding!r}')
    return LabelSet(
        plain.name,
        plain.names,
        no_finding,
        tuple(compatible),
        {parent: tuple(children) for parent, children in parents.items()},
        aliases,
        data_object.get("label-not-mentioned", "zeros"),
    )


def _strings(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
