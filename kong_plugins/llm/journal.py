"""The write-ahead file: what one plugin process must not lose while Redis is away, or when Redis has lost it.

A line is the CRC32 of a JSON record in hex, a space, and the record. A process appends to a file of its own, which it
keeps locked (flock) as long as it lives; the files of the dead are adopted by the living. A file in which everything
is settled is renamed from `.journal` to `.settled` and kept for two days, in case Redis loses what it was told.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

KEEP_SETTLED_MS: Final = 48 * 3_600_000
ROTATE_AT_BYTES: Final = 64 * 1024 * 1024
ROTATE_AFTER_MS: Final = 3_600_000
_MEASURE_EVERY_MS: Final = 5_000


class JournalUnavailable(Exception):
    """The folder is full, or cannot be written; what was to be recorded is not."""


class HeldBudget(msgspec.Struct, frozen=True, array_like=True):
    """What a grant holds of one budget, or of a tier's share in it."""

    budget: str
    subject: str
    period: str
    unit: str
    cost: int
    tier: str | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True, tag="held"):
    """A grant, written before it is given out: enough to hold it again in a Redis that has lost it, or, where it
    `is_news`, in one that was away and has never known of it."""

    organization: str
    request_id: str
    lease_ends_at_ms: int
    reserved_at_ms: int
    hold_nusd: int | None
    hold_tokens: int
    budgets: tuple[HeldBudget, ...]
    draft: msgspec.Raw
    is_news: bool = False


class Settled(msgspec.Struct, frozen=True, kw_only=True, tag="settled"):
    """How a call ended, written before Redis is told. `at_ms` is this node's clock."""

    organization: str
    request_id: str
    kind: Literal["posted", "voided"]
    amount_nusd: int | None
    tokens: int
    event_fields: msgspec.Raw
    reserved_at_ms: int | None
    hold_nusd: int
    at_ms: int


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """Redis has been told how this call ended; or `of_hold`, that it is held."""

    request_id: str
    of_hold: bool = False


News = Held | Settled
Record = News | Done
_DECODER: Final = msgspec.json.Decoder(Record)


class Place(msgspec.Struct, frozen=True):
    """Where a record lies."""

    path: Path
    offset: int


class Journal:
    """The files of one process in a folder that the processes of a node share.

    `most_bytes` is how large the folder may grow, None for as large as its disk; `run_blocking` runs what waits for
    the disk, where that does not stop the process's event loop.
    """

    def __init__(
        self,
        folder: Path,
        owner: str,
        *,
        most_bytes: int | None = None,
        run_blocking: Callable[[Callable[[], None]], None] = lambda work: work(),
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.folder = folder
        self._owner = f"{owner}-{os.getpid()}-{time.time_ns()}"
        self._most_bytes = most_bytes
        self._run_blocking = run_blocking
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._locked: dict[Path, int] = {}
        self._unsettled: dict[Path, set[Done]] = {}
        self._number = 0
        self._current: Path | None = None
        self._begun_at_ms = 0
        self._size_bytes = 0
        self._folder_bytes = 0
        self._measured_at_ms: int | None = None
        self._is_dirty = False
        self._is_torn = False

    def append(self, record: Record) -> Place:
        """Write a record, so that a `kill -9` of this process does not lose it; `sync` brings it to the disk.

        Raises:
            JournalUnavailable: it is not written.
        """
        line = line_of(record)
        with self._lock:
            try:
                place = self._append(line)
            except OSError as error:
                raise JournalUnavailable(f"{self.folder}: {error}") from error
            if not isinstance(record, Done) and _is_news(record):
                self._unsettled.setdefault(place.path, set()).add(done_with(record))
            return place

    def sync(self) -> None:
        """Bring what was written to the disk. Many records share one wait."""
        with self._lock:
            if not self._is_dirty or self._current is None:
                return
            descriptor = os.dup(self._locked[self._current])
            self._is_dirty = False
        try:
            self._run_blocking(lambda: os.fsync(descriptor))
        finally:
            os.close(descriptor)

    def read(self, place: Place) -> Record | None:
        """The record that lies there; None where it cannot be read any more."""
        path = place.path if place.path.exists() else place.path.with_suffix(".settled")
        with suppress(OSError), path.open("rb") as file:
            file.seek(place.offset)
            return _record(file.readline())
        return None

    def settle(self, place: Place, done: Done) -> None:
        """Note that Redis has been told of the record that lies there."""
        with suppress(JournalUnavailable):
            self.append(done)
        with self._lock:
            self._unsettled.get(place.path, set()).discard(done)

    def adopt(self) -> dict[Place, News]:
        """Take over the files of processes that are dead; return what Redis may not have been told of."""
        found: dict[Place, News] = {}
        done: set[Done] = set()
        for path in [each for each in sorted(self.folder.glob("*.journal")) if each not in self._locked]:
            with suppress(BlockingIOError, FileNotFoundError):
                self._locked[path] = _lock(path)
                for place, record in records_of(path):
                    if isinstance(record, Done):
                        done.add(record)
                    elif _is_news(record):
                        found[place] = record
        unsettled = {place: record for place, record in found.items() if done_with(record) not in done}
        for place, record in unsettled.items():
            self._unsettled.setdefault(place.path, set()).add(done_with(record))
        return unsettled

    def tidy(self) -> None:
        """Close the files in which everything is settled, and drop those that were for long."""
        with self._lock:
            for path in list(self._locked):
                if path != self._current and not self._unsettled.get(path):
                    self._let_go(path)
            for path in self.folder.glob("*.settled"):
                with suppress(FileNotFoundError):
                    if self._now_ms() - path.stat().st_mtime_ns // 1_000_000 >= KEEP_SETTLED_MS:
                        path.unlink()

    def records(self, since_ms: int = 0) -> Iterator[Record]:
        """All that any process has recorded since then, and some of what was before, in no order that matters."""
        for path in sorted([*self.folder.glob("*.settled"), *self.folder.glob("*.journal")]):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime_ns // 1_000_000 >= since_ms:
                    yield from (record for _, record in records_of(path))

    def mark(self, name: str, data: bytes) -> None:
        """Keep a few bytes under a name, for this process and those after it.

        Raises:
            OSError: they are not kept.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.folder / f"{name}.{self._owner}.new"
        new.write_bytes(data)
        new.rename(self.folder / f"{name}.mark")

    def marks(self) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in self.folder.glob("*.mark")}

    def close(self) -> None:
        """Leave the folder; what is unsettled is for the next process to adopt."""
        self.sync()
        self._current = None
        if self.folder.exists():
            self.tidy()
        for descriptor in self._locked.values():
            os.close(descriptor)
        self._locked.clear()

    def _append(self, line: bytes) -> Place:
        now_ms = self._now_ms()
        self._check_space(len(line), now_ms)
        if self._size_bytes >= ROTATE_AT_BYTES or now_ms - self._begun_at_ms >= ROTATE_AFTER_MS:
            self._current = None
        path = self._current or self._begin(now_ms)
        # What a full disk has cut off gets its end, so that this line is not a part of it.
        data = b"\n" + line if self._is_torn else line
        self._is_torn = True
        written = os.write(self._locked[path], data)
        self._size_bytes += written
        self._folder_bytes += written
        self._is_dirty = True
        if written != len(data):
            raise OSError("the disk is full")
        self._is_torn = False
        return Place(path, self._size_bytes - len(line))

    def _check_space(self, more_bytes: int, now_ms: int) -> None:
        if self._measured_at_ms is None or not 0 <= now_ms - self._measured_at_ms < _MEASURE_EVERY_MS:
            self._measured_at_ms = now_ms
            self._folder_bytes = sum(_size_bytes(path) for path in self.folder.glob("*"))
            # Somebody may have taken the folder away from under an open file, which can be written for ever.
            if self._current is not None and not self._current.exists():
                self._current = None
        if self._most_bytes is not None and self._folder_bytes + more_bytes > self._most_bytes:
            raise OSError(f"it holds {self._folder_bytes} bytes of at most {self._most_bytes}")

    def _begin(self, now_ms: int) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._number += 1
        path = self.folder / f"{self._owner}-{self._number:06}.journal"
        # It gets its name only once it is locked, so that nobody takes it for a dead process's.
        unnamed = path.with_suffix(".new")
        descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unnamed.rename(path)
        self._locked[path] = descriptor
        self._current, self._begun_at_ms, self._size_bytes, self._is_torn = path, now_ms, 0, False
        return path

    def _let_go(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            path.rename(path.with_suffix(".settled"))
        self._unsettled.pop(path, None)
        os.close(self._locked.pop(path))


def done_with(record: News) -> Done:
    """What is written once Redis has been told of a record."""
    return Done(request_id=record.request_id, of_hold=isinstance(record, Held))


def line_of(record: Record) -> bytes:
    """A record as one line."""
    data = msgspec.json.encode(record)
    return b"%08x %b\n" % (zlib.crc32(data), data)


def records_of(path: Path) -> Iterator[tuple[Place, Record]]:
    """The records of a file; lines that were torn, by a crash or a full disk, are skipped."""
    with path.open("rb") as file:
        offset = 0
        for line in file:
            record = _record(line)
            if record is not None:
                yield Place(path, offset), record
            offset += len(line)


def _is_news(record: News) -> bool:
    """Whether Redis has yet to be told of it."""
    return isinstance(record, Settled) or record.is_news


def _record(line: bytes) -> Record | None:
    checksum, _, data = line.removesuffix(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(data):
        return None
    try:
        record: Record = _DECODER.decode(data)
    except msgspec.MsgspecError:
        return None
    return record


def _lock(path: Path) -> int:
    """A descriptor that holds the file's lock.

    Raises:
        BlockingIOError: a living process holds it.
        FileNotFoundError: the file is gone.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held the lock until now may have given the file its other name.
        path.stat()
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _size_bytes(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
