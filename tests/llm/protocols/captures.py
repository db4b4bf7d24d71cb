"""Captured answers, and what the guard's tap keeps of one, for the tests of every wire format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from kong_plugins.llm.protocols.answers import Answer

CORPUS: Final = Path(__file__).parents[2] / "corpus"
# As in the guard's tap.lua.
HEAD_BYTES: Final = 4096
TAIL_BYTES: Final = 16384
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"


def capture(protocol: str, name: str) -> bytes:
    """A file of the corpus."""
    return (CORPUS / protocol / name).read_bytes()


def tapped(body: bytes, *, content_type: str = "application/json", complete: bool = True, encoding: str = "") -> Answer:
    """The answer as the guard's tap keeps it."""
    return Answer(
        content_type=content_type,
        content_encoding=encoding,
        head=body[:HEAD_BYTES],
        tail=body[-TAIL_BYTES:],
        size_bytes=len(body),
        event_count=body.count(b"\n\n") if content_type == EVENT_STREAM else 0,
        complete=complete,
    )


def names_in(protocol: str) -> set[str]:
    """The files of a wire format's corpus."""
    return {path.name for path in (CORPUS / protocol).iterdir()}


def tapped_capture(protocol: str, name: str, *, end: int | None = None) -> Answer:
    """A file of the corpus as the tap keeps it, or its first bytes, after which it broke off."""
    content_type = EVENT_STREAM if name.endswith(".sse") else "application/json"
    return tapped(capture(protocol, name)[:end], content_type=content_type, complete=end is None)


def cuts_of(body: bytes) -> list[int]:
    """Where to cut a body: at every byte of a short one, at the last ones of a long one and at some before. With
    BURSAR_EVERY_CUT set, as `make test-cuts` does, at every byte of all."""
    size = len(body)
    return (
        list(range(size))
        if size <= 12_000 or "BURSAR_EVERY_CUT" in os.environ
        else [*range(0, size - 600, 997), *range(size - 600, size)]
    )
