"""A job's settings, as whoever starts it writes them and the Lambdas read them."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_site import event
from specimens import LABELS

from cxr.contract import jobs
from cxr.contract.jobs import Settings
from cxr.contract.labels import LabelSet
from cxr.errors import ConfigError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
UNUSUAL = LabelSet(
    "own", ("Nothing", "Edema", "Tube"), "Nothing", ("Tube",), {"Edema": ("Tube",)}, {"E": "Edema"}
)


@given(
    st.sampled_from([LABELS, UNUSUAL, LabelSet("bare", ("Edema",)), None]),
    st.text(max_size=40), st.integers(1, 10**7), st.none() | st.text(min_size=1, max_size=20),
    st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)  # fmt: skip
def test_settings_survive_their_file(label_set, text, ttl_s, pacs_url, page):
    settings = Settings(
        "chest-1", label_set, "s3://b/v.js", text, text, ttl_s, pacs_url, text,
        [{"url": text, "caption": text}], page, pacs_url,
    )  # fmt: skip

    assert jobs.parse(json.dumps(jobs.to_document(settings))) == settings


def test_the_file_is_what_was_agreed():
    settings = jobs.parse(json.dumps(event("job_settings")))

    assert jobs.to_document(settings) == event("job_settings")


def test_a_label_set_may_leave_out_what_is_usual():
    found = jobs.label_set_from({"label-set": "x", "labels": ["Edema", "No Finding"]})

    assert (found.no_finding, found.aliases) == ("No Finding", {})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema": "cxr-job/2"}, "schema"),
        ({"labelSet": "Edema"}, "labelSet"),
        ({"labelSet": {"labels": ["Edema", "Edema"]}}, "labelSet"),
        ({"labelSet": {"labels": ["Edema"], "no-finding": "None"}}, "labelSet"),
        ({"viewerUrl": None}, "viewerUrl"),
        ({"attribute": 3}, "attribute"),
        ({"tokenTtlS": 0}, "tokenTtlS"),
        ({"tokenTtlS": True}, "tokenTtlS"),
        ({"tokenTtlS": "600"}, "tokenTtlS"),
        ({"pacsUrl": 3}, "pacsUrl"),
        ({"examples": {}}, "examples"),
        ({"page": []}, "page"),
    ],
)
def test_settings_that_are_none_say_where(changes, field):
    with pytest.raises(ConfigError, match=r"^settings\.json: ") as met:
        jobs.parse(json.dumps(event("job_settings") | changes))

    assert met.value.field == field


@given(st.text() | st.binary())
def test_noise_is_no_settings(noise):
    with pytest.raises(ConfigError, match="expected"):
        jobs.parse(noise)


@given(st.dictionaries(st.sampled_from(sorted(event("job_settings"))), JSON))
def test_hostile_settings_are_refused_or_read_and_nothing_else(changes):
    text = json.dumps(event("job_settings") | changes)

    with suppress(ConfigError):
        assert jobs.parse(text).label_set is None or changes.get("labelSet", "as it was")
