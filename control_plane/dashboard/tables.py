"""Tables of home pages: sorted, filtered and paged by the database, as the address says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from control_plane.dashboard.view import View

LINES_A_PAGE: Final = 25
_LAST_PAGE: Final = 1_000
_LONGEST_SEARCH: Final = 100


class Column(NamedTuple):
    """A heading; `order` is what the table is sorted by on a click, None where that makes no sense."""

    title: str
    order: str | None = None
    is_number: bool = False


class Cell(NamedTuple):
    """What a line says in one column; `percent` is drawn as a bar."""

    text: str
    link: str = ""
    percent: int | None = None


class Heading(NamedTuple):
    """A heading as it is shown: `sorted` is "ascending", "descending" or "", as screen readers are told."""

    title: str
    is_number: bool
    link: str
    sorted: str


@dataclass(frozen=True)
class Asked:
    """How a table is to be shown: `order` is a column's, with a minus for the other way round."""

    order: str
    search: str
    page: int

    @property
    def offset(self) -> int:
        return (self.page - 1) * LINES_A_PAGE


def asked_from(view: View, columns: Sequence[Column], *, usual: str) -> Asked:
    """What the address says; what it cannot mean is the usual."""
    order, page = view.asked.get("sort", ""), view.asked.get("line-page", "")
    known = {column.order for column in columns if column.order}
    return Asked(
        order=order if order.removeprefix("-") in known else usual,
        search=view.asked.get("q", "").replace("\0", "").strip()[:_LONGEST_SEARCH],
        page=min(max(int(page), 1), _LAST_PAGE) if page.isdecimal() and page.isascii() and len(page) < 9 else 1,
    )


@dataclass(frozen=True, kw_only=True)
class Table:
    """One page of lines. A table that is short enough to be whole has no `asked`."""

    title: str
    columns: Sequence[Column]
    lines: Sequence[Sequence[Cell]]
    nothing: str
    view: View | None = None
    asked: Asked | None = None
    search_label: str = ""
    export: str = ""
    more: Cell | None = None

    @property
    def headings(self) -> list[Heading]:
        return [self._heading(column) for column in self.columns]

    @property
    def shown(self) -> list[list[tuple[Cell, bool]]]:
        """The cells of each line of this page, and whether they are numbers."""
        numbers = [column.is_number for column in self.columns]
        lines = self.lines[:LINES_A_PAGE] if self.asked else self.lines
        return [list(zip(line, numbers, strict=True)) for line in lines]

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The choices that a search keeps."""
        asked = {} if self.view is None else self.view.asked.dict()
        return [(name, str(value)) for name, value in asked.items() if name not in ("q", "line-page")]

    @property
    def previous_link(self) -> str:
        if self.view is None or self.asked is None or self.asked.page == 1:
            return ""
        return self.view.link(line_page=str(self.asked.page - 1))

    @property
    def next_link(self) -> str:
        if self.view is None or self.asked is None or len(self.lines) <= LINES_A_PAGE:
            return ""
        return self.view.link(line_page=str(self.asked.page + 1))

    def _heading(self, column: Column) -> Heading:
        if self.view is None or self.asked is None or column.order is None:
            return Heading(column.title, column.is_number, "", "")
        state = {column.order: "ascending", f"-{column.order}": "descending"}.get(self.asked.order, "")
        first = f"-{column.order}" if column.is_number else column.order
        other = column.order if column.is_number else f"-{column.order}"
        link = self.view.link(sort=other if self.asked.order == first else first, line_page=None)
        return Heading(column.title, column.is_number, link, state)
