"""The write-ahead file: what is written survives its process, a torn line costs only itself, a full folder says so."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from kong_plugins.llm.journal import (
    KEEP_SETTLED_MS,
    ROTATE_AFTER_MS,
    Done,
    Held,
    HeldBudget,
    Journal,
    JournalUnavailable,
    Settled,
    line_of,
)
from stack.programs import REPOSITORY
from tests.exhaustion import no_free_descriptor

WRITER = """
import sys
from pathlib import Path
from kong_plugins.llm.journal import Done, Journal
from tests.llm.test_journal import settled
journal = Journal(Path(sys.argv[1]), "llm-token-meter")
for number in range(3):
    place = journal.append(settled(f"r{number}"))
journal.settle(place, Done(request_id="r2"))
print("written", flush=True)
sys.stdin.read()
"""


def settled(request_id: str = "r1", *, at_ms: int = 1) -> Settled:
    return Settled(
        organization="acme",
        request_id=request_id,
        kind="posted",
        amount_nusd=9_007_199_254_740_993,
        tokens=30,
        event_fields=msgspec.Raw(b'{"user":"line\\nbreak"}'),
        reserved_at_ms=5,
        hold_nusd=200,
        at_ms=at_ms,
    )


def held(request_id: str = "r1") -> Held:
    return Held(
        organization="acme",
        request_id=request_id,
        lease_ends_at_ms=10,
        reserved_at_ms=5,
        hold_nusd=None,
        hold_tokens=30,
        budgets=(HeldBudget("b1", "search", "month-2026-11-01", "nusd", 200),),
        draft=msgspec.Raw(b"{}"),
    )


class Clock:
    now_ms = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", "llm-token-meter", now_ms=clock)
    yield journal
    journal.close()


def test_what_is_written_can_be_read_exactly(journal: Journal) -> None:
    first, second = journal.append(held()), journal.append(settled())
    journal.append(Done(request_id="r0"))
    journal.sync()

    assert (journal.read(first), journal.read(second)) == (held(), settled())
    assert list(journal.records()) == [held(), settled(), Done(request_id="r0")]


def test_the_files_are_for_their_owner_only(journal: Journal) -> None:
    path = journal.append(settled()).path

    assert (path.stat().st_mode & 0o077, path.parent.stat().st_mode & 0o077) == (0, 0)


def test_a_killed_process_leaves_its_lines_to_the_next(tmp_path: Path, journal: Journal) -> None:
    command = [sys.executable, "-c", WRITER, str(journal.folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert journal.adopt() == {}, "a living process keeps its file"
        writer.send_signal(signal.SIGKILL)

    adopted = journal.adopt()
    assert [record.request_id for record in adopted.values()] == ["r0", "r1"], "r2 was settled"
    assert [journal.read(place) for place in adopted] == list(adopted.values())
    assert journal.adopt() == {}, "it is ours now"


def test_of_two_that_would_adopt_a_file_one_does(journal: Journal, tmp_path: Path) -> None:
    (journal.folder).mkdir()
    (journal.folder / "dead-1-000001.journal").write_bytes(line_of(settled()))
    other = Journal(journal.folder, "other")

    assert sorted([len(journal.adopt()), len(other.adopt())]) == [0, 1]
    other.close()


@pytest.mark.parametrize("torn", [b"", b"\n", b"12", b"00000000 {}\n", b"\xff\xfe\n", line_of(settled())[:-20]])
def test_a_torn_line_costs_only_itself(journal: Journal, torn: bytes) -> None:
    journal.folder.mkdir()
    path = journal.folder / "dead-1-000001.journal"
    path.write_bytes(line_of(settled("r1")) + torn)

    assert [record.request_id for record in journal.adopt().values()] == ["r1"]


def test_a_line_whose_bytes_have_changed_is_not_believed(journal: Journal) -> None:
    place = journal.append(settled())
    place.path.write_bytes(place.path.read_bytes().replace(b'"tokens":30', b'"tokens":31'))

    assert journal.read(place) is None
    assert list(journal.records()) == []


def test_a_record_of_another_version_is_skipped(journal: Journal) -> None:
    journal.folder.mkdir()
    line, newer = line_of(settled()), b'{"type":"invented"}'
    (journal.folder / "dead-1-000001.journal").write_bytes(b"%08x %b\n" % (zlib.crc32(newer), newer) + line)

    assert len(journal.adopt()) == 1


def test_a_file_is_kept_until_all_in_it_is_settled_and_two_days_more(journal: Journal, clock: Clock) -> None:
    place = journal.append(settled())
    clock.now_ms += ROTATE_AFTER_MS
    journal.append(settled("r2"))
    journal.tidy()
    assert place.path.exists(), "r1 is not settled"

    journal.settle(place, Done(request_id="r1"))
    journal.tidy()
    kept = place.path.with_suffix(".settled")
    assert (kept.exists(), place.path.exists()) == (True, False)
    assert journal.read(place) == settled(), "it is found under its new name"

    os.utime(kept, ns=(0, (clock.now_ms - KEEP_SETTLED_MS + 1) * 1_000_000))
    journal.tidy()
    assert kept.exists()
    os.utime(kept, ns=(0, (clock.now_ms - KEEP_SETTLED_MS) * 1_000_000))
    journal.tidy()
    assert not kept.exists()


def test_a_full_folder_takes_nothing_more_and_says_so(tmp_path: Path, clock: Clock) -> None:
    journal = Journal(tmp_path, "meter", most_bytes=2 * len(line_of(settled())), now_ms=clock)
    places = [journal.append(settled()), journal.append(settled("r2"))]

    with pytest.raises(JournalUnavailable, match="at most"):
        journal.append(settled("r3"))
    assert [journal.read(place) for place in places] == [settled(), settled("r2")], "nothing was dropped"
    journal.close()


def test_a_disk_that_is_full_in_the_middle_of_a_line_costs_that_line_only(journal: Journal) -> None:
    places = [journal.append(settled("r1"))]
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(line_of(settled())) + 10, unlimited[1]))
    try:
        for _ in range(3):
            with pytest.raises(JournalUnavailable):
                journal.append(settled("r2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    places.append(journal.append(settled("r3")))

    assert [journal.read(place) for place in places] == [settled("r1"), settled("r3")]
    assert list(journal.records()) == [settled("r1"), settled("r3")]
    assert len(list(journal.folder.iterdir())) == 1, "the same file goes on"


def test_a_folder_that_others_have_filled_is_full_too(tmp_path: Path, clock: Clock) -> None:
    journal = Journal(tmp_path, "meter", most_bytes=10_000, now_ms=clock)
    journal.append(settled())
    (tmp_path / "other.settled").write_bytes(b"x" * 10_000)
    clock.now_ms += 5_000

    with pytest.raises(JournalUnavailable):
        journal.append(settled("r2"))
    journal.close()


def test_a_folder_that_cannot_be_written_says_so_and_may_come_back(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where a folder should be")
    journal = Journal(tmp_path / "journal", "meter")
    with pytest.raises(JournalUnavailable):
        journal.append(settled())

    (tmp_path / "journal").unlink()

    assert journal.read(journal.append(settled())) == settled()
    journal.close()


def test_a_folder_that_was_taken_away_is_made_again(journal: Journal, clock: Clock) -> None:
    lost = journal.append(settled())
    shutil.rmtree(journal.folder)
    clock.now_ms += 5_000

    assert journal.read(lost) is None
    assert journal.read(journal.append(settled("r2"))) == settled("r2")


def test_a_process_that_can_open_nothing_more_brings_its_lines_to_the_disk_later(tmp_path: Path) -> None:
    waits: list[Callable[[], None]] = []
    journal = Journal(tmp_path, "meter", run_blocking=waits.append)
    journal.append(settled())
    with no_free_descriptor(), pytest.raises(OSError, match="open files"):
        journal.sync()
    assert waits == []

    journal.sync()

    assert len(waits) == 1
    journal.close()


def test_a_file_that_has_gone_in_the_meantime_stops_nothing(journal: Journal) -> None:
    journal.append(settled())
    (journal.folder / "dead-1-000001.journal").symlink_to("gone")
    (journal.folder / "dead-1-000002.journal").write_bytes(line_of(settled("r2")))
    other = Journal(journal.folder, "other", most_bytes=10_000)

    assert [record.request_id for record in other.adopt().values()] == ["r2"]
    other.append(settled("r3"))
    assert list(other.records()) == [settled("r2"), settled(), settled("r3")]
    other.close()


def test_a_mark_outlives_its_process(journal: Journal) -> None:
    assert journal.marks() == {}
    journal.mark("acme", b"1")
    journal.mark("acme", b"2")

    assert Journal(journal.folder, "other").marks() == {"acme": b"2"}


def test_files_that_ended_before_are_not_even_read(journal: Journal) -> None:
    path = journal.append(settled()).path
    os.utime(path, ns=(0, 5_000_000))

    assert (list(journal.records(5)), list(journal.records(6))) == ([settled()], [])


def test_marks_and_strangers_are_no_records(journal: Journal) -> None:
    journal.mark("acme", b"1")
    (journal.folder / "note.txt").write_text("hello")

    assert (list(journal.records()), journal.adopt()) == ([], {})
