"""What a Lambda says of an error never quotes what it was given."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specimens import LABELS

from cxr.contract import annotation, telling
from cxr.errors import AnnotationError, ConfigError, CxrError, ManifestError


@given(st.text(alphabet="ÄÖÜ§", min_size=1), st.sampled_from([ValueError, KeyError, ManifestError]))
def test_a_message_is_never_told(secret, kind):
    told = telling.nameless(kind(secret), secret)

    assert secret not in str(told)
    assert f"error {kind.__name__}" in str(told)
    assert "object ?" in str(told)


def test_kind_and_place_are_told():
    error = ConfigError("x").at("labelSet")

    told = telling.nameless(error, 7)

    assert str(told) == "object 7, error ConfigError, field labelSet"
    assert type(told) is ConfigError
    assert type(telling.nameless(ValueError("x"))) is CxrError


def test_the_place_of_an_answer_is_a_path_and_a_line():
    with pytest.raises(AnnotationError, match="Miller") as met:
        annotation.parse(json.dumps({"schema": "Miller"}), LABELS)

    told = telling.kind(met.value)

    assert told.pop("line").startswith("cxr/contract/annotation.py:")
    assert told == {"error": "AnnotationError", "field": "schema"}


def test_only_aws_own_words_are_told_of_a_refusal():
    error = ValueError("Miller")
    error.operation_name = "GetObject"
    error.response = {"Error": {"Code": "AccessDenied", "Message": "Miller"}}
    odd = ValueError("Miller")
    odd.response = {"Error": {"Code": "what Miller is"}}

    assert telling.kind(error) == {
        "error": "ValueError", "code": "AccessDenied", "action": "GetObject"
    }  # fmt: skip
    assert telling.kind(odd) == {"error": "ValueError"}


def test_a_line_is_json_with_the_requests_id(capsys):
    telling.tell("done", SimpleNamespace(aws_request_id="8f5e"), count=3)

    assert json.loads(capsys.readouterr().out) == {"event": "done", "request": "8f5e", "count": 3}


def test_what_is_kept_is_fetched_again_when_it_is_old():
    fetched = iter(range(9))
    kept = telling.Kept(60, most=2)

    assert [kept.get("a", lambda: next(fetched)) for _ in range(3)] == [0, 0, 0]
    assert kept.get("a", lambda: next(fetched), ttl_s=0) == 1
    assert kept.get("a", lambda: next(fetched)) == 1
    assert [kept.get(key, lambda: next(fetched)) for key in "bc"] == [2, 3]
    assert kept.get("a", lambda: next(fetched)) == 4  # no more than two are kept
