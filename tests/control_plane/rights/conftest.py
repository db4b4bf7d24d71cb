"""What the walk counted, from every process that walked, told once at the end."""

from __future__ import annotations

from typing import Any

COUNTED = "rights walk"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    counts = [value for report in reports for name, value in report.user_properties if name == COUNTED]
    if not counts:
        return
    walked, leaks = sum(count["walked"] for count in counts), sum(count["leaks"] for count in counts)
    objects = max(count["objects"] for count in counts)
    roles, addresses = len({count["role"] for count in counts}), max(count["addresses"] for count in counts)
    terminalreporter.write_line(
        f"{addresses} addresses × {roles} roles × {objects} owners of rows: {walked} requests, {leaks} leaks"
    )
