"""Server-sent events, read from the two ends of a stream (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from typing import Final, NamedTuple

from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Answer

_BLANK_LINES: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Event(NamedTuple):
    """One whole event: its lines, and its size on the wire with its blank line."""

    lines: bytes
    size_bytes: int

    @property
    def data(self) -> bytes:
        fields = (line for line in self.lines.splitlines() if line.startswith(b"data:"))
        return b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in fields)


def whole_events(answer: Answer) -> list[Event]:
    """The events that lie wholly within the ends of a stream, in order."""
    beginning, end = events_at_both_ends(answer)
    return beginning + end


def events_at_both_ends(answer: Answer) -> tuple[list[Event], list[Event]]:
    """The events that lie wholly within the head, and those within the tail; all are in the head where the two meet."""
    whole = answer.whole
    if whole is not None:
        return _split(whole), []
    return _split(answer.head), _split(answer.tail)[1:]


def torn_event(answer: Answer) -> Event | None:
    """The last bytes of the event that began before the tail, if it ended in it."""
    return next(iter(_split(answer.tail)), None) if answer.whole is None else None


def sent_bound_tokens(answer: Answer, events: list[Event], *, content_bytes: int, envelope_bytes: int) -> int:
    """An upper bound of the output tokens that were sent in a stream, of which these events were seen, with so many
    bytes of content: a token has at least one byte. At least `envelope_bytes` of each unseen event are no content."""
    unseen_bytes = answer.size_bytes - sum(event.size_bytes for event in events)
    unseen_events = max(0, answer.event_count - len(events))
    return content_bytes + max(0, unseen_bytes - unseen_events * envelope_bytes) + SLACK_TOKENS


def _split(window: bytes) -> list[Event]:
    """The events of a window that starts with one; what follows the last blank line is unfinished.

    A stream has one kind of line end; a comment of another kind, put in by a proxy, joins the event after it.
    """
    blank_line = max(_BLANK_LINES, key=window.count)
    return [Event(lines, len(lines) + len(blank_line)) for lines in window.split(blank_line)[:-1]]
