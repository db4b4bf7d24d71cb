"""Request bodies that are forms (multipart/form-data) as members with byte spans, read as strictly as JSON bodies are.

Readers of forms differ: about what stands before the first boundary and behind the last one, about a boundary with
blanks behind it or a mere newline before it, about folded headers, transfer encodings, escapes in names, forms within
forms, and about which of two fields of one name counts (RFC 2046 §5.1, RFC 7578 §4 and §5). All of that is refused, so
that the provider reads what was read here. The SDKs' and browsers' own forms have none of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from kong_plugins.llm.body import Body, Member, Splice
from kong_plugins.llm.errors import InvalidRequest

_MOST_PARTS: Final = 64
_MOST_HEAD_BYTES: Final = 2048
_MOST_FIELD_BYTES: Final = 256 * 1024
# RFC 2046 §5.1.1; without quotes only what every reader of a header takes so. A blank in it is nobody's.
_CONTENT_TYPE: Final = re.compile(
    r"""multipart/form-data; ?boundary=(?:(?P<plain>[\w.+-]{1,70})|"(?P<quoted>[\w.+'()/,:=?-]{1,70})")""",
    re.IGNORECASE | re.ASCII,
)
_HEADER: Final = re.compile(r"(?P<name>[A-Za-z-]+): ?(?P<value>[^\x00-\x1f\x7f]*)")
# A backslash in quotes is an escape to some readers, and to others none.
_DISPOSITION: Final = re.compile(
    r"""form-data; ?name=(?:"(?P<quoted>[^"\\]+)"|(?P<plain>[\w.\[\]-]+))"""
    r"""(?P<file>(?:; ?filename=(?:"[^"\\]*"|[\w.()+-]+))?(?:; ?filename\*=[\w'%.!~+-]+)?)""",
    re.ASCII,
)
_FIELD_TYPE: Final = re.compile(
    r'text/plain(?:; ?charset="?(?P<charset>utf-8|us-ascii|iso-8859-1)"?)?', re.IGNORECASE | re.ASCII
)
_IDENTITIES: Final = frozenset({"7bit", "8bit", "binary"})
_HEADERS: Final = frozenset({"content-disposition", "content-type", "content-length", "content-transfer-encoding"})
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_FLAGS: Final[Mapping[str, bool]] = {"true": True, "false": False}


class Attachment(NamedTuple):
    """A file in a form: the span [start, end) of its bytes."""

    start: int
    end: int


class Form(Body, frozen=True, kw_only=True):
    """A form as it arrived. A field's value is a text, that of a file an `Attachment`, and that of a name that ends in
    `[]` the list of all its values. Nothing is ever inserted."""

    boundary: str

    def splices(self, changes: Mapping[str, object]) -> tuple[Splice, ...]:
        """The splices that give each named field its new text, ascending.

        Raises:
            InvalidRequest: a text cannot be written in this form.
        """
        return tuple(sorted(self._splice(self.members[name], str(text)) for name, text in changes.items()))

    def _splice(self, member: Member, text: str) -> Splice:
        if not (text.isascii() and text.isprintable()) or self.boundary in text:
            raise InvalidRequest("The provider's name of this model cannot be written in this form.", param="model")
        return Splice(member.start, member.end - member.start, text)


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form, be it a readable one."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def parse_form(data: bytes, content_type: str) -> Form:
    """Read a request body.

    Raises:
        InvalidRequest: it is no form of this type that every reader understands in the same way.
    """
    match = _CONTENT_TYPE.fullmatch(content_type)
    if match is None:
        raise InvalidRequest("Send a form: the Content-Type must be multipart/form-data with a plain boundary.")
    boundary = match["plain"] or match["quoted"]
    try:
        members = _members(data, _spans(data, f"--{boundary}".encode()))
    except _Unclear as error:
        raise InvalidRequest(f"The form cannot be read: {error}") from None
    return Form(data=data, members=members, first_member_at=0, boundary=boundary)


def with_types(body: Body, *, numbers: Collection[str], flags: Collection[str]) -> Body:
    """The body; where it is a form, with these of its texts as JSON would have them. What is no whole number, or
    neither true nor false, stays a text."""
    if not isinstance(body, Form):
        return body

    def typed(name: str, value: Any) -> Any:
        if name in numbers and isinstance(value, str) and _NUMBER.fullmatch(value):
            return int(value)
        return _FLAGS.get(value, value) if name in flags and isinstance(value, str) else value

    members = {name: member._replace(value=typed(name, member.value)) for name, member in body.members.items()}
    return msgspec.structs.replace(body, members=members)


class _Unclear(ValueError):
    """Why some reader might take the form otherwise."""


def _spans(data: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """The span of each part, from its headers on. Wherever the boundary occurs, it has to be one."""
    if not data.startswith(delimiter):
        raise _Unclear("it does not begin with the boundary of its Content-Type.")
    at = len(delimiter)
    while data[at : at + 2] != b"--":
        end = data.find(delimiter, at)
        if end == -1:
            raise _Unclear("it does not end with its boundary.")
        if data[at : at + 2] != b"\r\n" or end - 2 < at + 2 or data[end - 2 : end] != b"\r\n":
            raise _Unclear("its boundary does not stand on lines of its own.")
        yield at + 2, end - 2
        at = end + len(delimiter)
    if data[at + 2 : at + 5] not in (b"", b"\r\n"):
        raise _Unclear("something stands behind its last boundary.")


def _members(data: bytes, spans: Iterator[tuple[int, int]]) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for count, (start, end) in enumerate(spans):
        if count == _MOST_PARTS:
            raise _Unclear(f"it has more than {_MOST_PARTS} parts.")
        name, member = _part(data, start, end)
        before = members.get(name)
        if name.endswith("[]"):
            values = [*before.value, member.value] if before else [member.value]
            members[name] = Member(values, before.start if before else member.start, member.end)
        elif before is not None:
            raise _Unclear(f"{name[:64]} occurs twice.")
        else:
            members[name] = member
    return members


def _part(data: bytes, start: int, end: int) -> tuple[str, Member]:
    """A part's name and value."""
    head_end = data.find(b"\r\n\r\n", start, min(end, start + _MOST_HEAD_BYTES))
    if head_end == -1:
        raise _Unclear("a part has no headers, or too long ones.")
    headers = _headers(data[start:head_end])
    disposition = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if disposition is None:
        raise _Unclear("the Content-Disposition of a part is not form-data with a plain name.")
    name, value_at = disposition["quoted"] or disposition["plain"], head_end + 4
    _check_encoding(headers, end - value_at)
    kind = headers.get("content-type")
    if not disposition["file"]:
        return name, Member(_text(name, data[value_at:end], kind), value_at, end)
    if kind is not None and kind.lower().startswith(("multipart/", "message/")):
        raise _Unclear(f"{name[:64]} is a form in the form.")
    return name, Member(Attachment(value_at, end), value_at, end)


def _headers(head: bytes) -> dict[str, str]:
    """The headers of a part under lower-case names."""
    found: dict[str, str] = {}
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError:
        raise _Unclear("a part's headers are not in UTF-8.") from None
    for line in lines:
        match = _HEADER.fullmatch(line)
        name = match["name"].lower() if match else ""
        if match is None or name not in _HEADERS or name in found:
            raise _Unclear("a part has a header that is unknown, occurs twice or goes on in another line.")
        found[name] = match["value"]
    return found


def _check_encoding(headers: Mapping[str, str], size_bytes: int) -> None:
    if headers.get("content-transfer-encoding", "binary").lower() not in _IDENTITIES:
        raise _Unclear("a part has a Content-Transfer-Encoding.")
    if headers.get("content-length", str(size_bytes)) != str(size_bytes):
        raise _Unclear("a part has another length than its Content-Length.")


def _text(name: str, data: bytes, kind: str | None) -> str:
    """The text of a field."""
    match = _FIELD_TYPE.fullmatch(kind or "text/plain")
    if match is None or len(data) > _MOST_FIELD_BYTES:
        raise _Unclear(f"{name[:64]} is not plain text of at most {_MOST_FIELD_BYTES} bytes.")
    charset = (match["charset"] or "utf-8").lower()
    try:
        return data.decode("utf-8" if charset == "utf-8" else "ascii")
    except UnicodeDecodeError:
        raise _Unclear(f"{name[:64]} is not in UTF-8.") from None
