"""What leaves for a provider is what the client has written, byte for byte, but for the members that are spliced: the
core works the splices out, for every wire format, and the guard's own Lua applies them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from kong_plugins.llm.body import Body, parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import PROTOCOL_NAMES, read_body, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest
from tests.guard.gateway import runtime, to_lua
from tests.llm.multipart import CONTENT_TYPE, form, part

Members = list[tuple[str, str]]

MODEL: Final = '"gpt-4o-mini"'
HELLO: Final = '[{"role":"user","content":"hi"}]'
PATHS: Final = {
    "openai_images": ("/v1/images/generations",),
    "gemini": ("/v1beta/models/mini:generateContent", "/v1beta/models/mini:streamGenerateContent"),
    "ollama_chat": ("/api/chat", "/api/generate"),
    "bedrock_converse": ("/model/mini/converse",),
    "bedrock_invoke": ("/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/invoke",),
}
# Requests as small as they can be, as text; each format takes some of them.
REQUESTS: Final[tuple[Members, ...]] = (
    [("model", MODEL), ("messages", HELLO)],
    [("model", MODEL), ("messages", HELLO), ("max_tokens", "99")],
    [("model", MODEL), ("messages", HELLO), ("max_tokens", "99"), ("stream", "true")],
    [("model", MODEL), ("messages", HELLO), ("stream", "true"), ("stream_options", '{"include_obfuscation":false}')],
    [("model", MODEL), ("input", '"hi"')],
    [("model", MODEL), ("input", '"hi"'), ("max_output_tokens", "99")],
    [("model", MODEL), ("input", '"hi"'), ("voice", '"alloy"')],
    [("model", MODEL), ("prompt", '"hi"'), ("max_tokens", "99"), ("stream", "true")],
    [("model", '"gpt-image-1"'), ("prompt", '"hi"')],
    [("contents", '[{"parts":[{"text":"hi"}]}]')],
    [("contents", '[{"parts":[{"text":"hi"}]}]'), ("generationConfig", '{"maxOutputTokens":99}')],
    [("messages", '[{"role":"user","content":[{"text":"hi"}]}]')],
    [("messages", '[{"role":"user","content":[{"text":"hi"}]}]'), ("inferenceConfig", '{"maxTokens":99}')],
    [("anthropic_version", '"bedrock-2023-05-31"'), ("max_tokens", "99"), ("messages", HELLO)],
)


def array(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def record(items: list[str]) -> str:
    return "{" + ",".join(f'"k{number}" :{item}' for number, item in enumerate(items)) + "}"


# What one JSON reader after another has not written again as it was.
NUMBERS: Final = ("9223372036854775808", "-0", "0.1", "1.0", "1E+2", "123456789012345678901234567890", "1e-7")
SCALARS: Final = st.sampled_from((*NUMBERS, "true", "null", "[]", "{}", '""', "[ ]", "{\n}"))
TEXTS: Final = st.text(max_size=20).flatmap(
    lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False), '"\\u00e9\\/\\ud83d\\ude00"'])
)
VALUES: Final = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3).map(array) | st.lists(inner, max_size=3).map(record),
    max_leaves=8,
)
# Before a member's name and behind it, before its value and behind it.
BLANK: Final = st.sampled_from(("", "", " ", "\n\t", " \r\n "))
BLANKS: Final = st.tuples(BLANK, BLANK, BLANK, BLANK)


# Forms as small as they can be, by the paths at which they are read: the fields that are not files.
FORMS: Final[tuple[tuple[str, str, str, Members], ...]] = (
    ("openai_transcriptions", "/v1/audio/transcriptions", "file", [("model", "whisper-1")]),
    ("openai_transcriptions", "/v1/audio/translations", "file", [("model", "whisper-1"), ("prompt", "Hé")]),
    ("openai_images", "/v1/images/edits", "image", [("model", "gpt-image-1"), ("prompt", "hi"), ("stream", "true")]),
    ("openai_images", "/v1/images/variations", "image", [("model", "dall-e-2")]),
)


@pytest.fixture(scope="module")
def lua() -> LuaRuntime:
    return runtime()


def request_of(protocol: str, members: Members, path: str) -> ModelRequest | None:
    """The request as the format reads it; None where it is none in this format."""
    text = ",".join(f"{json.dumps(name)}:{value}" for name, value in members)
    try:
        return wire_format(protocol).parse_request(parse_body(f"{{{text}}}".encode()), Asked(path=path))
    except InvalidRequest:
        return None


def requests_in(protocol: str) -> list[tuple[Members, ModelRequest]]:
    paths = PATHS.get(protocol, ("",))
    read = [(members, request_of(protocol, members, path)) for members in REQUESTS for path in paths]
    return [(members, request) for members, request in read if request is not None]


def spliced(lua: LuaRuntime, data: bytes, changes: dict[str, object]) -> bytes:
    """What the guard makes of it."""
    return applied(lua, parse_body(data), changes)


def applied(lua: LuaRuntime, body: Body, changes: dict[str, object]) -> bytes:
    """What the guard makes of a body that has been read."""
    splice = lua.eval("require('kong.plugins.llm-guard.splice')")
    entries = [[offset, length, text.encode()] for offset, length, text in body.splices(changes)]
    result = splice(body.data.decode("latin-1"), to_lua(lua, entries))
    assert isinstance(result, str), result
    return result.encode("latin-1")


def written(members: Members, blanks: Sequence[tuple[str, ...]], changes: dict[str, object]) -> bytes:
    """The body with these values in place of the changed members', and with the new ones in front."""
    compact = {name: json.dumps(value, separators=(",", ":")) for name, value in changes.items()}
    new = "".join(f"{json.dumps(name)}:{compact[name]}," for name in changes if name not in dict(members))
    new = new if members else new.rstrip(",")
    parts = [
        f"{before}{json.dumps(name)}{between}:{after}{compact.get(name, value)}{behind}"
        for (name, value), (before, between, after, behind) in zip(members, blanks, strict=True)
    ]
    return f"{{{new}{','.join(parts)}}}\n".encode()


@pytest.mark.parametrize("protocol", [name for name in PROTOCOL_NAMES if name != "openai_transcriptions"])
def test_each_wire_format_is_among_those_that_are_tried(protocol: str) -> None:
    assert requests_in(protocol)


@pytest.mark.parametrize("protocol", [name for name in PROTOCOL_NAMES if name != "openai_transcriptions"])
@given(data=st.data())
def test_nothing_but_the_spliced_members_differs(lua: LuaRuntime, protocol: str, data: st.DataObject) -> None:
    minimal, request = data.draw(st.sampled_from(requests_in(protocol)))
    extra = [(f"x{number}", value) for number, value in enumerate(data.draw(st.lists(VALUES, max_size=5)))]
    members = data.draw(st.permutations([*minimal, *extra]))
    blanks = [data.draw(BLANKS) for _ in members]
    body = written(members, blanks, {})

    changes = wire_format(protocol).upstream_changes(
        parse_body(body), request, provider_model=data.draw(st.sampled_from(("m", "modèle-😀"))), granted_max_tokens=7
    )

    assert not changes.keys() & {name for name, _ in extra}
    assert spliced(lua, body, changes) == written(members, blanks, changes)


@pytest.mark.parametrize(("protocol", "path", "file", "fields"), FORMS)
@given(data=st.data())
def test_nothing_but_the_models_name_differs_in_a_form(
    lua: LuaRuntime, protocol: str, path: str, file: str, fields: Members, data: st.DataObject
) -> None:
    content = data.draw(st.binary(max_size=60))
    model = data.draw(st.sampled_from(("m", "gpt-4o-transcribe", "openai/whisper:large v3", fields[0][1])))
    order = data.draw(st.permutations([*dict(fields), file]))

    def written_form(name: str) -> bytes:
        values = dict(fields) | {"model": name}
        return form(
            *(part(each, content, filename="f") if each == file else part(each, values[each]) for each in order)
        )

    body = read_body(protocol, written_form(fields[0][1]), CONTENT_TYPE)
    request = wire_format(protocol).parse_request(body, Asked(path=path))
    changes = wire_format(protocol).upstream_changes(body, request, provider_model=model, granted_max_tokens=7)

    assert applied(lua, body, changes) == written_form(model)


@given(data=st.data())
def test_any_members_of_any_body_can_be_spliced(lua: LuaRuntime, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=6))
    members = [(name, data.draw(VALUES)) for name in names]
    blanks = [data.draw(BLANKS) for _ in members]
    values: st.SearchStrategy[Any] = st.sampled_from((7, True, "é\u2028", {"include_usage": True}, [], 2**63))
    changed = st.sampled_from([*names, "new", "newer"])
    changes = data.draw(st.dictionaries(changed, values, max_size=4))

    result = spliced(lua, written(members, blanks, {}), changes)

    assert result == written(members, blanks, changes)
    assert json.loads(result) == {name: json.loads(value) for name, value in members} | changes


@pytest.mark.parametrize("character", ["x", "é", "😀", "\\u00e9"])
def test_a_megabyte_passes_as_it_is(lua: LuaRuntime, character: str) -> None:
    long = character * (1_048_576 // len(character.encode()))
    members = [
        ("model", MODEL),
        ("messages", f'[{{"role":"user","content":"{long}"}}]'),
        ("seed", "9223372036854775808"),
    ]
    blanks = [(" ", "", "\n", " ")] * len(members)
    changes: dict[str, object] = {"model": "m", "seed": 0.1, "max_tokens": 7}

    assert spliced(lua, written(members, blanks, {}), changes) == written(members, blanks, changes)
