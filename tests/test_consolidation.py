"""The rules that see a whole job, and what they leave untouched."""

from hypothesis import given
from hypothesis import strategies as st
from specimens import LABELS, form, skip

from cxr.contract import consolidate
from cxr.labeling import consolidation


def attribute(*forms):
    answers = {f"w{i}": content for i, content in enumerate(forms)}
    return consolidate.consolidate(answers, LABELS)


@given(st.lists(st.text("pau", min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_finding_is_in_dispute_where_not_all_said_the_same(answers):
    found = consolidation.disputes(attribute(*(form(three + "a") for three in answers)), LABELS)

    assert found == [
        name for k, name in enumerate(LABELS.findings) if len({three[k] for three in answers}) > 1
    ]


def test_no_finding_is_never_in_dispute():
    assert consolidation.disputes(attribute(form("aaap"), form("aaaa")), LABELS) == []


def test_a_skip_beside_an_answer_puts_everything_in_dispute():
    assert consolidation.disputes(attribute(form("aaap"), skip()), LABELS) == list(LABELS.findings)


def test_where_all_skip_nothing_is_in_dispute():
    assert consolidation.disputes(attribute(skip(), skip("blurred")), LABELS) == []
