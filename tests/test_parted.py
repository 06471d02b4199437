"""The one part of a multipart answer, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.pacs import parted

CONTENT = st.lists(
    st.binary(max_size=20) | st.sampled_from([b"\r\n", b"--", b"\r\n--", b"\r\n--b", b"b0", b"-"]),
    max_size=12,
).map(b"".join)


def cut(body: bytes, sizes: list[int]):
    while body:
        size = sizes.pop(0) if sizes else len(body)
        yield body[:size]
        body = body[size:]


@given(
    CONTENT,
    st.sampled_from([b"", b"\r\n", b"a preamble\r\n"]),
    st.sampled_from([b"Content-Type: application/dicom\r\n\r\n", b"A: b\r\nC: d\r\n\r\n", b"\r\n"]),
    st.sampled_from([b"", b"\r\n", b"\r\nan epilogue"]),
    st.lists(st.integers(1, 7), max_size=200),
)
def test_the_content_comes_out_as_it_went_in(content, before, heading, after, sizes) -> None:
    content = content.replace(b"\r\n--b0", b"")
    body = before + b"--b0\r\n" + heading + content + b"\r\n--b0--" + after

    assert b"".join(parted.only(cut(body, sizes), "b0")) == content


def test_little_is_held_back() -> None:
    begun = iter([b"--b\r\n\r\n", b"x" * 100, b"\r\n--b--"])

    first = next(parted.only(begun, "b"))

    assert first.startswith(b"x" * 90)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "ended before its first part"),
        (b"--b\r\nA: b\r\n", "ended before its first part"),
        (b"--b--", "ended before its first part|holds no part"),
        (b"--b\r\n\r\nhalf", "ended before its closing boundary"),
        (b"--b\r\n\r\nwhole\r\n--b", "ended within its closing boundary"),
        (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--", "holds more than one part"),
        (b"x" * 100_000, "begins with no boundary"),
    ],
)
def test_half_a_part_is_none(body, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        b"".join(parted.only(iter([body]), "b"))
