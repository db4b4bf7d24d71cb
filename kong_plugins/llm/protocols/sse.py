"""Server-sent events, read from the two ends of a stream (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kong_plugins.llm.protocols.answers import Answer

_BLANK_LINE: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Event(NamedTuple):
    """One whole event: its size on the wire with its blank line, and its data."""

    size_bytes: int
    data: bytes


def whole_events(answer: Answer) -> list[Event]:
    """The events that lie wholly within the ends of a stream, in order."""
    whole = answer.whole
    if whole is not None:
        return _split(whole)
    return _split(answer.head) + _split(answer.tail)[1:]


def _split(window: bytes) -> list[Event]:
    """The events of a window that starts with one; what follows the last blank line is unfinished."""
    events = []
    start = 0
    for blank_line in _BLANK_LINE.finditer(window):
        events.append(Event(blank_line.end() - start, _data(window[start : blank_line.start()])))
        start = blank_line.end()
    return events


def _data(event: bytes) -> bytes:
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in lines)
