"""From many answers to one label, over a whole job, after whichever backend collected it.

The post-annotation Lambda sees one data object at a time and takes the majority; what needs the
whole job, or an adjudicator, is done here, so that a local job and one of Ground Truth end alike.
"""

from collections.abc import Mapping
from typing import Any

from cxr.contract.labels import LabelSet

ANSWERS = "annotationsFromAllWorkers"


def disputes(attribute: Mapping[str, Any], label_set: LabelSet) -> list[str]:
    """Name the findings of one data object on which its workers' answers differ.

    Where some skipped it and others answered, every finding is in dispute. `No Finding` never
    is: it follows from the others.

    Args:
        attribute: Its label attribute, consolidated by whatever rule.
        label_set: What was asked; the order of the result.

    >>> says = {"findings": [{"label": "Edema", "votes": {"present": 2, "absent": 1}}]}
    >>> disputes(says, LabelSet("one", ("Edema",)))
    ['Edema']
    """
    votes = {item["label"]: item["votes"] for item in attribute["findings"]}
    answered = max((sum(counts.values()) for counts in votes.values()), default=0)
    if 0 < answered < len(attribute.get(ANSWERS, ())):
        return list(label_set.findings)
    return [
        name
        for name in label_set.findings
        if sum(count > 0 for count in votes.get(name, {}).values()) > 1
    ]
