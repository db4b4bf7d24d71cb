"""Logs are shown line by line, each under its program's name."""

from __future__ import annotations

import io
from pathlib import Path

from stack.log_view import LogView


def _shown(logs: Path, *steps: tuple[str, str]) -> list[str]:
    """What is shown of the lines that are written after the view was made."""
    out = io.StringIO()
    view = LogView(logs, ["gateway", "ingest"], out)
    for name, text in steps:
        with (logs / f"{name}.log").open("a") as log:
            log.write(text)
    view.start()
    view.stop()
    return out.getvalue().splitlines()


def test_each_line_stands_under_its_programs_name(tmp_path: Path) -> None:
    assert _shown(tmp_path, ("gateway", "listens\nready\n"), ("ingest", "reads\n")) == [
        "gateway │ listens",
        "gateway │ ready",
        "ingest  │ reads",
    ]


def test_what_an_earlier_run_wrote_is_not_shown_again(tmp_path: Path) -> None:
    (tmp_path / "ingest.log").write_text("yesterday\n")
    assert _shown(tmp_path, ("ingest", "today\n")) == ["ingest  │ today"]


def test_a_line_is_shown_when_it_is_whole(tmp_path: Path) -> None:
    assert _shown(tmp_path, ("ingest", "half a ")) == []
    assert _shown(tmp_path, ("ingest", "half a "), ("ingest", "line\n")) == ["ingest  │ half a line"]


def test_nothing_is_lost_when_a_log_is_turned_over(tmp_path: Path) -> None:
    out = io.StringIO()
    log = tmp_path / "ingest.log"
    log.touch()
    view = LogView(tmp_path, ["ingest"], out)
    log.write_text("last of the old\n")
    log.rename(tmp_path / "ingest.log.1")
    log.write_text("first of the new\n")
    view.start()
    while "new" not in out.getvalue():
        pass
    view.stop()
    assert out.getvalue().splitlines() == ["ingest │ last of the old", "ingest │ first of the new"]
