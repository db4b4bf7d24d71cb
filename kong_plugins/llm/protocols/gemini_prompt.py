"""What a request in Gemini's words gives a model to read, and what of it cannot be bounded.

https://ai.google.dev/api/caching#Content and #Part
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols.checks import Check
from kong_plugins.llm.protocols.gemini_names import check_fields, fields_of, items
from kong_plugins.llm.tokens import Prompt, strings_in

# Parts whose tokens have nothing to do with their bytes.
_MEDIA: Final = ("inlineData", "fileData")
_PARTS_UNTOUCHED: Final = frozenset(
    {
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "executableCode",
        "codeExecutionResult",
        "inlineData",
        "videoMetadata",
        "mediaResolution",
    }
)
_CONTENT_MEMBERS: Final = frozenset({"role", "parts"})
_MEDIA_MEMBERS: Final = frozenset({"inlineData", "fileData", "videoMetadata", "mediaResolution"})


def prompt_of(fields: Mapping[str, Any], *, schema_bytes: int) -> Prompt:
    """The prompt of a request with these members.

    Raises:
        InvalidRequest: there is none, or a part of it cannot be metered.
    """
    contents = items(fields.get("contents"), "contents")
    if not contents:
        raise InvalidRequest("contents must hold at least one content.", param="contents")
    instructions = fields.get("systemInstruction")
    placed = [(content, f"contents[{index}]") for index, content in enumerate(contents)]
    placed += [] if instructions is None else [(instructions, "systemInstruction")]
    media = [_is_media(part, where) for content, place in placed for part, where in _parts(content, place)]
    return Prompt(
        texts=() if any(media) else tuple(text for content, _ in placed for text in strings_in(content, names=True)),
        message_count=len(placed),
        schema_bytes=schema_bytes,
        has_media=any(media),
    )


def _parts(content: Any, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The members of each part of a content, and its place."""
    if content is None:
        raise InvalidRequest(f"{where} must be an object.", param=where)
    fields = fields_of(content, where)
    check_fields(fields, where, {}, untouched=_CONTENT_MEMBERS)
    for index, part in enumerate(items(fields.get("parts"), f"{where}.parts")):
        place = f"{where}.parts[{index}]"
        yield fields_of(part, place), place


def _is_media(part: Mapping[str, Any], where: str) -> bool:
    """Whether the part's bytes do not bound its tokens. Raises: InvalidRequest: it is of a kind that is not metered."""
    check_fields(part, where, _PART_CHECKS, untouched=_PARTS_UNTOUCHED)
    answered = fields_of(part.get("functionResponse"), f"{where}.functionResponse")
    return any(part.get(name) is not None for name in _MEDIA) or bool(answered.get("parts"))


def _is_open_file(value: Any, where: str) -> None:
    """Files that were uploaded to the provider's account may be those of another team, and so may its buckets."""
    uri = fields_of(value, where).get("fileUri")
    if value is not None and not (isinstance(uri, str) and _is_public(uri)):
        raise InvalidRequest(
            "Only files at a public https address are available through this gateway. Send others as inlineData.",
            param=where,
        )


def _is_public(uri: str) -> bool:
    try:
        url = urlsplit(uri)
        host = (url.hostname or "").rstrip(".")
    except ValueError:
        return False
    return url.scheme == "https" and bool(host) and host != "googleapis.com" and not host.endswith(".googleapis.com")


def _is_function_answer(value: Any, where: str) -> None:
    answered = fields_of(value, where)
    for index, part in enumerate(items(answered.get("parts"), f"{where}.parts")):
        place = f"{where}.parts[{index}]"
        check_fields(fields_of(part, place), place, _PART_CHECKS, untouched=_MEDIA_MEMBERS - {"fileData"})


_PART_CHECKS: Final[Mapping[str, Check]] = {"fileData": _is_open_file, "functionResponse": _is_function_answer}
