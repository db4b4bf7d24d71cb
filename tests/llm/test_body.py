"""A body is read so that every reader understands it alike, and changed without touching another byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kong_plugins.llm.body import Body, Splice, first_members, parse_body
from kong_plugins.llm.errors import InvalidRequest

texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=5)
layouts = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "indent": st.none() | st.integers(0, 2),
        "separators": st.sampled_from([(",", ":"), (" ,", " : ")]),
    }
)


def apply(data: bytes, changes: tuple[Splice, ...]) -> bytes:
    """What the guard does: replace spans of bytes, from the last to the first."""
    for splice in reversed(changes):
        data = data[: splice.offset] + splice.replacement.encode("ascii") + data[splice.offset + splice.length :]
    return data


def kept(body: Body, changes: dict[str, Any]) -> list[bytes]:
    """The exact bytes of every member that is not changed."""
    return [body.data[member.start : member.end] for name, member in body.members.items() if name not in changes]


@given(document=objects, changes=objects, layout=layouts, space=st.sampled_from([b"", b" ", b"\n\t"]))
@example(document={}, changes={"stream": True}, layout={}, space=b"")
@example(document={"é": "😀", "model": "a"}, changes={"model": "b"}, layout={"ensure_ascii": False}, space=b" ")
def test_splices_change_what_they_name_and_not_one_other_byte(
    document: dict[str, Any], changes: dict[str, Any], layout: dict[str, Any], space: bytes
) -> None:
    body = parse_body(space + json.dumps(document, **layout).encode() + space)

    edits = body.splices(changes)
    edited = parse_body(apply(body.data, edits))

    assert {name: member.value for name, member in edited.members.items()} == document | changes
    assert [
        edited.data[edited.members[name].start : edited.members[name].end] for name in document if name not in changes
    ] == (kept(body, changes))
    ends = [splice.offset + splice.length for splice in edits]
    assert all(end <= splice.offset for end, splice in zip(ends, edits[1:], strict=False))
    unchanged_bytes = len(body.data) - sum(splice.length for splice in edits)
    assert len(edited.data) == unchanged_bytes + sum(len(splice.replacement) for splice in edits)


@given(document=objects, layout=layouts)
def test_a_body_reads_as_json_does_and_every_span_is_its_own_value(
    document: dict[str, Any], layout: dict[str, Any]
) -> None:
    body = parse_body(json.dumps(document, **layout).encode())

    assert {name: body.get(name) for name in body.members} == document
    for name, member in body.members.items():
        assert json.loads(body.data[member.start : member.end]) == document[name]
        assert body.span_bytes(name) == member.end - member.start


@given(st.binary(max_size=40))
@example(b'{"a":1}x')
@example(b'{"a" 1}')
@example(b'{"a":1;}')
@example(b"{a:1}")
@example(b'{"a":}')
@example(b'{"a":1,}')
@example(b'{"a":"\n"}')
def test_whatever_arrives_is_read_or_refused_as_json_reads_or_refuses_it(data: bytes) -> None:
    try:
        expected = json.loads(data.decode())
    except ValueError:
        expected = None
    try:
        body = parse_body(data)
    except InvalidRequest:
        return
    assert {name: body.get(name) for name in body.members} == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"a"',
        b'{"a":1',
        b'{"a":1}{}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":[{"c":1,"c":2}]}}',
        b'{"a":NaN}',
        b'{"a":[-Infinity]}',
        b'{"a":1e999}',
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b'{"a":' * 100_000,
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="request body"):
        parse_body(data)


def test_a_refusal_says_where_and_repeats_nothing_of_the_content() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_body(b'{"messages":"my secret" oops}')

    assert "at character" in caught.value.message
    assert "secret" not in caught.value.message


def test_a_name_that_comes_twice_is_named() -> None:
    with pytest.raises(InvalidRequest, match='"model" occurs twice'):
        parse_body(b'{"a":{"model":1,"x":2,"model":3}}')


@given(document=objects, layout=layouts, data=st.data())
def test_a_cut_document_gives_its_first_members_and_no_wrong_one(
    document: dict[str, Any], layout: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(document, **layout)
    cut = text[: data.draw(st.integers(0, len(text)))]

    found = first_members(cut)

    assert found == {name: document[name] for name in list(document)[: len(found)]}
    assert first_members(text) == document


def test_the_beginning_of_something_else_has_no_members() -> None:
    assert first_members("[1,2") == {}
    assert first_members('{"a":' + "[" * 100_000) == {}
