"""Forms are read in one way only, or not at all: whoever reads them behind the gateway has to find the same in them."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiohttp import BodyPartReader, MultipartReader, StreamReader
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.forms import Attachment, Form, is_form, parse_form, with_types
from tests.llm.multipart import BOUNDARY, CONTENT_TYPE, form, part

MODEL = part("model", "whisper-1")
Values = dict[str, list[str | bytes]]


def values_of(read: Form) -> Values:
    """All values by name, files as their bytes."""

    def plain(value: Any) -> list[str | bytes]:
        if isinstance(value, list):
            return [each for one in value for each in plain(one)]
        return [read.data[value.start : value.end] if isinstance(value, Attachment) else value]

    return {name: plain(member.value) for name, member in read.members.items()}


async def by_aiohttp(data: bytes, content_type: str) -> Values:
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=2**20, loop=loop)
    stream.feed_data(data)
    stream.feed_eof()
    found: Values = {}
    async for each in MultipartReader({"Content-Type": content_type}, stream):
        assert isinstance(each, BodyPartReader)
        assert each.name is not None
        value = bytes(await each.read())
        found.setdefault(each.name, []).append(value if each.filename is not None else value.decode())
    return found


def by_email(data: bytes, content_type: str) -> Values:
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + data)
    found: Values = {}
    for each in message.get_payload():
        assert isinstance(each, Message)
        name = each.get_param("name", header="content-disposition")
        value = each.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(value, bytes)
        found.setdefault(name, []).append(value if each.get_filename() is not None else value.decode())
    return found


def test_a_form_is_read_with_the_place_of_every_value() -> None:
    data = form(MODEL, part("file", b"\x00\r\n--\xff", filename="a b.wav", more="Content-Type: audio/wav\r\n"))

    read = parse_form(data, CONTENT_TYPE)

    assert values_of(read) == {"model": ["whisper-1"], "file": [b"\x00\r\n--\xff"]}
    member = read.members["model"]
    assert (read.get("model"), data[member.start : member.end]) == ("whisper-1", b"whisper-1")
    assert read.splices({}) == ()


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ("Multipart/Form-Data;Boundary=abc", "abc"),
        ('multipart/form-data; boundary="a:b=c?"', "a:b=c?"),
        (
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
            "----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
    ],
)
def test_boundaries_are_taken_as_clients_write_them(content_type: str, boundary: str) -> None:
    assert is_form(content_type)
    assert values_of(parse_form(form(MODEL, boundary=boundary), content_type)) == {"model": ["whisper-1"]}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a:b",
        'multipart/form-data; boundary="a b"',
        "multipart/form-data; charset=utf-8; boundary=abc",
        "multipart/form-data; boundary=abc; boundary=b",
        "multipart/form-data; boundary=abc, multipart/form-data; boundary=b",
        "multipart/mixed; boundary=abc",
        f"multipart/form-data; boundary={'a' * 71}",
    ],
)
def test_a_type_that_names_no_plain_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidRequest, match=r"multipart/form-data with a plain boundary"):
        parse_form(form(MODEL, boundary="abc"), content_type)


@pytest.mark.parametrize(
    "head",
    [
        "Content-Disposition: form-data; name=model\r\nContent-Type: text/plain; charset=utf-8\r\n",
        'content-disposition:form-data;name="model"\r\n',
        'Content-Disposition: form-data; name="model"\r\nContent-Length: 9\r\nContent-Transfer-Encoding: 8bit\r\n',
        'Content-Type: text/plain;charset=ISO-8859-1\r\nContent-Disposition: form-data; name="model"\r\n',
    ],
)
def test_fields_are_taken_as_sdks_write_them(head: str) -> None:
    data = form(head.encode() + b"\r\nwhisper-1")

    assert values_of(parse_form(data, CONTENT_TYPE)) == {"model": ["whisper-1"]}


@pytest.mark.parametrize(
    "parameters",
    [
        'name="file"; filename=""',
        'name="file"; filename="Ünïcode – 1.wav"',
        "name=file; filename=a.wav; filename*=utf-8''a%20b.wav",
        "name=\"file\"; filename*=UTF-8''a.wav",
    ],
)
def test_files_are_taken_as_sdks_name_them(parameters: str) -> None:
    data = form(f"Content-Disposition: form-data; {parameters}\r\n\r\nRIFF".encode())

    assert values_of(parse_form(data, CONTENT_TYPE)) == {"file": [b"RIFF"]}


def headed(*lines: str, value: bytes = b"whisper-1") -> bytes:
    return form("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + value)


NAMED = 'Content-Disposition: form-data; name="model"'
LINE = f"--{BOUNDARY}".encode()
UNCLEAR = {
    "nothing": (b"", "begin"),
    "a preamble": (b"hello\r\n" + form(MODEL), "begin"),
    "a line before": (b"\r\n" + form(MODEL), "begin"),
    "an epilogue": (form(MODEL) + b"x", "behind its last"),
    "two ends": (form(MODEL) + form(MODEL), "behind its last"),
    "no end": (form(MODEL)[: -len(LINE) - 4], "not end"),
    "cut in the last boundary": (form(MODEL)[:-5], "not end"),
    "no dashes at the end": (form(MODEL)[:-4], "not end"),
    "a blank behind the boundary": (form(MODEL).replace(LINE + b"\r\n", LINE + b" \r\n"), "lines of its own"),
    "newlines alone": (form(MODEL).replace(b"\r\n", b"\n"), "lines of its own"),
    "a newline alone before a boundary": (form(part("file", b"x\n" + LINE + b"--", filename="f")), "lines of its own"),
    "a boundary in a value": (form(part("prompt", f"x--{BOUNDARY}y"), MODEL), "lines of its own"),
    "a boundary in headers": (headed(NAMED, f"Content-Type: --{BOUNDARY}"), "lines of its own"),
    "no room for a part": (LINE + b"\r\n" + LINE + b"--", "lines of its own"),
    "an empty part": (form(b""), "no headers"),
    "no blank line": (form(NAMED.encode()), "no headers"),
    "long headers": (headed(NAMED, f"Content-Type: {'x' * 2048}"), "too long"),
    "no disposition": (headed("Content-Type: text/plain"), "Content-Disposition"),
    "another disposition": (headed('Content-Disposition: attachment; name="model"'), "Content-Disposition"),
    "no name": (headed("Content-Disposition: form-data"), "Content-Disposition"),
    "an empty name": (headed('Content-Disposition: form-data; name=""'), "Content-Disposition"),
    "two names": (headed(NAMED + '; name="n"'), "Content-Disposition"),
    "an encoded name": (headed("Content-Disposition: form-data; name*=UTF-8''model"), "Content-Disposition"),
    "an escape in a name": (headed('Content-Disposition: form-data; name="mo\\del"'), "Content-Disposition"),
    "an escape in a file's name": (headed(NAMED + '; filename="a\\"; name="n"'), "Content-Disposition"),
    "more about the file": (headed(NAMED + '; filename="a"; size=5'), "Content-Disposition"),
    "two dispositions": (headed(NAMED, NAMED), "occurs twice"),
    "an unknown header": (headed(NAMED, "X-Model: gpt"), "unknown"),
    "a folded header": (headed("Content-Disposition: form-data;", ' name="model"'), "another line"),
    "a control character": (headed(NAMED + "\x00"), "unknown"),
    "headers in Latin-1": (form(NAMED.encode() + b"\r\nContent-Type: \xe9\r\n\r\nx"), "not in UTF-8"),
    "an encoding": (headed(NAMED, "Content-Transfer-Encoding: base64"), "Content-Transfer-Encoding"),
    "another length": (headed(NAMED, "Content-Length: 3"), "another length"),
    "JSON": (headed(NAMED, "Content-Type: application/json"), "not plain text"),
    "another charset": (headed(NAMED, "Content-Type: text/plain; charset=utf-16"), "not plain text"),
    "a long text": (headed(NAMED, value=b"x" * 262_145), "not plain text"),
    "text in Latin-1": (headed(NAMED, value=b"\xe9"), "not in UTF-8"),
    "text beyond its charset": (
        headed(NAMED, "Content-Type: text/plain; charset=us-ascii", value="é".encode()),
        "not in UTF-8",
    ),
    "a form in the form": (
        headed(NAMED + '; filename="a"', "Content-Type: multipart/mixed; boundary=b"),
        "in the form",
    ),
    "two fields of one name": (form(MODEL, MODEL), "model occurs twice"),
    "a field and a file of one name": (form(MODEL, part("model", b"x", filename="m")), "model occurs twice"),
    "many parts": (form(*(part(f"x{number}", "") for number in range(65))), "64 parts"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_another_reader_could_take_otherwise_is_refused(name: str) -> None:
    data, reason = UNCLEAR[name]

    with pytest.raises(InvalidRequest, match=f"The form cannot be read: .*{reason}"):
        parse_form(data, CONTENT_TYPE)


def test_values_of_a_list_are_all_kept() -> None:
    data = form(part("image[]", b"1", filename="a"), MODEL, part("image[]", b"2", filename="b"))

    assert values_of(parse_form(data, CONTENT_TYPE)) == {"image[]": [b"1", b"2"], "model": ["whisper-1"]}


def test_numbers_and_flags_are_those_that_have_one_spelling() -> None:
    fields = {"n": "2", "size": "0", "stream": "true", "more": "false", "bad": "02", "odd": "True", "prompt": "3"}
    data = form(*(part(name, value) for name, value in fields.items()), part("file", b"1", filename="n"))

    read = with_types(
        parse_form(data, CONTENT_TYPE), numbers=("n", "size", "bad", "file"), flags=("stream", "more", "odd", "file")
    )

    typed = {name: member.value for name, member in read.members.items() if name != "file"}
    assert typed == fields | {"n": 2, "size": 0, "stream": True, "more": False}
    assert isinstance(read.get("file"), Attachment)
    json = parse_body(b'{"n":"2"}')
    assert with_types(json, numbers=("n",), flags=()) is json


@pytest.mark.parametrize("model", ["modèle", "a\r\nb", f"--{BOUNDARY}"])
def test_a_name_that_would_break_the_form_is_not_written_into_it(model: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be written"):
        parse_form(form(MODEL), CONTENT_TYPE).splices({"model": model})


NAMES = st.sampled_from(("model", "prompt", "file", "image[]", "n"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FILES = st.binary(max_size=30) | st.sampled_from((b"\r\n", b"\r\n--", b"--", LINE[:-1], b"\r\n" + LINE[:-1], b"\r"))
PARTS = st.tuples(NAMES, TEXTS).map(lambda pair: part(*pair)) | st.tuples(NAMES, FILES).map(
    lambda pair: part(*pair, filename="f")
)
# What breaks a form, here and there.
NOISE = st.sampled_from(
    (b"", b"", b"\r\n", b"\n", b" ", LINE, b"--", b"\r", b'"', b"\\", b"Content-Type: text/plain\r\n")
)


@given(parts=st.lists(PARTS, min_size=1, max_size=4), noise=NOISE, place=st.integers(0, 400))
def test_whatever_is_read_others_read_in_the_same_way(parts: list[bytes], noise: bytes, place: int) -> None:
    whole = form(*parts)
    data = whole[:place] + noise + whole[place:]
    try:
        ours = values_of(parse_form(data, CONTENT_TYPE))
    except InvalidRequest:
        return

    assert asyncio.run(by_aiohttp(data, CONTENT_TYPE)) == ours
    assert by_email(data, CONTENT_TYPE) == ours
