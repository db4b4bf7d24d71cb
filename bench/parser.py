"""What reading an answer's usage costs: each capture of the corpus, grown until it fills both ends that the guard's tap
keeps, beside Python's own reading of as much JSON."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from statistics import median
from time import process_time
from timeit import Timer
from typing import Final

from bench.results import publish
from kong_plugins.llm.protocols import PROTOCOL_NAMES, wire_format
from kong_plugins.llm.protocols.answers import Answer

CORPUS: Final = Path(__file__).parents[1] / "tests" / "corpus"
# As in the guard's tap.lua.
HEAD_BYTES: Final = 4096
TAIL_BYTES: Final = 16384
WINDOW_BYTES: Final = HEAD_BYTES + TAIL_BYTES
CONTENT_TYPES: Final = {
    ".array": "application/json",
    ".eventstream": "application/vnd.amazon.eventstream",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".sse": "text/event-stream",
}
ROUNDS: Final = 7
READINGS: Final = 20


def grown(body: bytes, suffix: str) -> bytes:
    """The capture with a part of its middle repeated, or a long text in its first object, until the window is full."""
    missing_bytes = WINDOW_BYTES - len(body)
    if missing_bytes <= 0:
        return body
    if suffix in (".json", ".array"):
        head, brace, rest = body.partition(b"{")
        return head + brace + b'"padding":"' + b"lorem ipsum " * (missing_bytes // 12) + b'",' + rest
    parts = parts_of(body, suffix)
    middle = parts[len(parts) // 2]
    return b"".join([*parts[:-1], *[middle] * (missing_bytes // len(middle) + 1), parts[-1]])


def parts_of(body: bytes, suffix: str) -> list[bytes]:
    """The events, lines or frames of a stream."""
    if suffix == ".eventstream":
        frames = []
        while body:
            (length_bytes,) = struct.unpack(">I", body[:4])
            frames.append(body[:length_bytes])
            body = body[length_bytes:]
        return frames
    mark = b"\n\n" if suffix == ".sse" else b"\n"
    return [part + mark for part in body.split(mark) if part.strip()]


def tapped(body: bytes, suffix: str) -> Answer:
    """The answer as the guard's tap keeps it."""
    return Answer(
        content_type=CONTENT_TYPES[suffix],
        content_encoding="",
        head=body[:HEAD_BYTES],
        tail=body[-TAIL_BYTES:],
        size_bytes=len(body),
        event_count=body.count(b"\n\n"),
        complete=True,
    )


def reading_us(protocol: str, capture: Path) -> float:
    """The least of several rounds: what else the machine does only ever adds."""
    answer = tapped(grown(capture.read_bytes(), capture.suffix), capture.suffix)
    read = wire_format(protocol).read_answer
    return min(Timer(lambda: read(answer), timer=process_time).repeat(ROUNDS, READINGS)) / READINGS * 1e6


def yardstick_us() -> float:
    """What Python's JSON reader takes for a list of short objects as long as the window."""
    item = json.dumps({"index": 1, "delta": {"content": "lorem ipsum"}})
    text = "[" + ", ".join([item] * (WINDOW_BYTES // len(item))) + "]"
    return min(Timer(lambda: json.loads(text), timer=process_time).repeat(ROUNDS, READINGS)) / READINGS * 1e6


def main() -> None:
    yardstick = yardstick_us()
    rows: list[dict[str, object]] = []
    for protocol in (name for name in PROTOCOL_NAMES if (CORPUS / name).is_dir()):
        captures = [each for each in sorted((CORPUS / protocol).iterdir()) if each.suffix in CONTENT_TYPES]
        found = {capture.name: reading_us(protocol, capture) for capture in captures}
        slowest = max(found, key=found.__getitem__)
        rows.append(
            {
                "protocol": protocol,
                "captures": len(found),
                "median_us": round(median(found.values())),
                "slowest_us": round(found[slowest]),
                "slowest_to_json_loads": round(found[slowest] / yardstick, 2),
                "slowest": slowest,
            }
        )
    publish("bench-parser", rows)


if __name__ == "__main__":
    main()
