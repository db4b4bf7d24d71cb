"""Usage in Ollama's answers: one JSON document, or a stream of one a line (NDJSON), whose last tells the counts.

`prompt_eval_count` is missing where older servers have taken the whole prompt from their cache; then only the output is
known. https://docs.ollama.com/api/usage
"""

from __future__ import annotations

from typing import Any

import msgspec

from kong_plugins.llm.body import first_members
from kong_plugins.llm.protocols.answers import (
    Answer,
    Count,
    Reading,
    decoded,
    decoded_from_member_on,
    readable_model_name,
)
from kong_plugins.llm.protocols.sse import Event, sent_bound_tokens
from kong_plugins.llm.tokens import utf8_bytes
from kong_plugins.llm.usage import Usage


class _Line(msgspec.Struct):
    """An answer, or one piece of it: of a chat (`message`) or of a completion (`response`)."""

    message: dict[str, Any] = {}
    response: str = ""
    thinking: str | None = None
    done: bool = False
    prompt_eval_count: Count | None = None
    eval_count: Count | None = None


def read_lines(answer: Answer) -> Reading:
    """The usage of an answer, or what bounds what was sent of it."""
    lines = _lines(answer)
    told = [decoded(line.lines, _Line) for line in lines]
    model = readable_model_name(first_members(answer.head.decode(errors="replace")).get("model"))
    last = told[-1] if told else None
    if last is not None and last.done:
        return _reading(last, model)
    # Before the counts, a completion's last line has its whole context, which may be longer than what is kept.
    end = decoded_from_member_on(answer.tail.rstrip(), "total_duration", _Line) if answer.complete else None
    if end is not None:
        return _reading(end, model)
    return Reading(sent_bound_tokens=_sent_bound_tokens(answer, lines, told), response_model=model)


def _reading(last: _Line, model: str | None) -> Reading:
    if last.eval_count is None or last.prompt_eval_count is None:
        return Reading(sent_bound_tokens=last.eval_count, response_model=model)
    usage = Usage(input_tokens=last.prompt_eval_count, output_tokens=last.eval_count)
    return Reading(usage=usage, response_model=model)


def _lines(answer: Answer) -> list[Event]:
    """The lines that lie wholly within the ends of an answer; the last one needs no end."""
    whole = answer.whole
    if whole is not None:
        return _split(whole)
    beginning, end = answer.head.rpartition(b"\n")[0], answer.tail.partition(b"\n")[2]
    return _split(beginning + b"\n") + _split(end)


def _split(window: bytes) -> list[Event]:
    return [Event(line, len(line) + 1) for line in window.split(b"\n") if line.strip()]


def _sent_bound_tokens(answer: Answer, lines: list[Event], told: list[_Line | None]) -> int | None:
    """What bounds the output; None where some of it was thought, of which a client may see less. An unfinished line
    counts with all its bytes."""
    content_bytes = 0
    for line, each in zip(lines, told, strict=True):
        if each is None or each.message.get("tool_calls"):
            content_bytes += line.size_bytes
            continue
        if each.thinking or each.message.get("thinking"):
            return None
        content_bytes += utf8_bytes(each.response or str(each.message.get("content") or ""))
    return sent_bound_tokens(answer, lines, content_bytes=content_bytes, envelope_bytes=0)
