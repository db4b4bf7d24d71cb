"""Tables of pages: sorted, narrowed and paged as the address says, and the same lines as a file.

What a table is asked stands in the page's query string under the table's name (`users-sort`, `users-q`, `users-page`
and `users-` with the name of a column), so that an address can be kept and several tables of a page do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

from django.http import QueryDict

from control_plane.amounts import rounded_usd_text, usd_text

Value = int | str | Decimal | date | None

# What a cell says where there is nothing to say.
NOTHING: Final = "–"
LINES_A_PAGE: Final = 25
_LAST_PAGE: Final = 10_000
_LONGEST_SEARCH: Final = 100
_MOST_CHOICES: Final = 200


class Column(NamedTuple):
    """`name` is that of addresses and files. A column of choices can be narrowed to one of its texts; one that is
    `only_in_file` is not on the page."""

    title: str
    name: str
    is_number: bool = False
    is_choice: bool = False
    only_in_file: bool = False


class Cell(NamedTuple):
    """What a line says in one column; `percent` is drawn as a bar, `value` is what it is sorted by and what a file
    says, the text itself if None."""

    text: str
    link: str = ""
    percent: int | None = None
    value: Value = None

    @property
    def exact(self) -> Value:
        if self.value is not None:
            return self.value
        return None if self.text == NOTHING else self.text


Line = Sequence[Cell]


def count(number: int) -> Cell:
    return Cell(f"{number:,}", value=number)


def money(amount_nusd: int | None, *, link: str = "") -> Cell:
    """US dollars: rounded on the page, exact in a file; None where there is no amount."""
    if amount_nusd is None:
        return Cell(NOTHING)
    return Cell(rounded_usd_text(amount_nusd), link, value=Decimal(usd_text(amount_nusd)))


def used(percent: int | None) -> Cell:
    return Cell(NOTHING, percent=percent, value=percent)


class Heading(NamedTuple):
    """A heading as it is shown: `sorted` is "ascending", "descending" or "", as screen readers are told."""

    title: str
    is_number: bool
    link: str
    sorted: str


class Select(NamedTuple):
    """A choice among values, each with its label."""

    name: str
    label: str
    options: Sequence[tuple[str, str]]
    chosen: str


@dataclass(frozen=True)
class Asked:
    """How a table is to be shown: `order` is a column's name, with a minus for the other way round, "" for the order
    in which the lines come; `chosen` are texts of columns."""

    order: str = ""
    search: str = ""
    chosen: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Where lines come from; their cells are those of the table's columns."""

    def lines(self, columns: Sequence[Column], asked: Asked, *, most: int | None, offset: int) -> Sequence[Line]: ...

    def choices(self, columns: Sequence[Column], column: Column) -> Sequence[str]: ...


@dataclass(frozen=True)
class Listed:
    """Lines that are few enough to be at hand."""

    all_lines: Sequence[Line]

    def lines(self, columns: Sequence[Column], asked: Asked, *, most: int | None, offset: int) -> Sequence[Line]:
        place = {column.name: number for number, column in enumerate(columns)}
        found = [line for line in self.all_lines if _is_asked(line, columns, place, asked)]
        if asked.order:
            number = place[asked.order.removeprefix("-")]
            # What has no value comes last, whichever way round.
            known = [line for line in found if line[number].exact is not None]
            unknown = [line for line in found if line[number].exact is None]
            known.sort(key=lambda line: _sortable(line[number].exact), reverse=asked.order.startswith("-"))
            found = known + unknown
        return found[offset:] if most is None else found[offset : offset + most]

    def choices(self, columns: Sequence[Column], column: Column) -> Sequence[str]:
        number = list(columns).index(column)
        return sorted({line[number].text for line in self.all_lines})


def _is_asked(line: Line, columns: Sequence[Column], place: Mapping[str, int], asked: Asked) -> bool:
    if any(line[place[name]].text != text for name, text in asked.chosen.items()):
        return False
    texts = (cell.text for cell, column in zip(line, columns, strict=True) if not column.is_number)
    return not asked.search or any(asked.search.casefold() in text.casefold() for text in texts)


def _sortable(value: Value) -> Any:
    return value.casefold() if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a page: `query` is what the page is asked, `export` the address of the table as a file. `selects` are
    choices beyond those of its columns, which the source heeds by itself."""

    name: str
    title: str
    columns: Sequence[Column]
    source: Source
    nothing: str
    query: QueryDict
    export: str
    usual: str = ""
    lines_a_page: int = LINES_A_PAGE
    search_label: str = ""
    selects: Sequence[Select] = ()
    total: Line = ()
    more: Cell | None = None

    @property
    def asked(self) -> Asked:
        """What the address says; what it cannot mean is the usual."""
        order = self._of("sort")
        known = {column.name for column in self.columns if not column.only_in_file}
        chosen = {column.name: self._of(column.name) for column in self.columns if column.is_choice}
        return Asked(
            order=order if order.removeprefix("-") in known else self.usual,
            search=self._of("q").strip()[:_LONGEST_SEARCH] if self.search_label else "",
            chosen={name: text for name, text in chosen.items() if text},
        )

    @property
    def page(self) -> int:
        text = self._of("page")
        is_number = text.isdecimal() and text.isascii() and len(text) < 9
        return min(max(int(text), 1), _LAST_PAGE) if is_number else 1

    @property
    def shown(self) -> list[list[tuple[Cell, bool]]]:
        """The cells of each line of this page, and whether they are numbers."""
        return [self._shown(line) for line in self._page_and_one[: self.lines_a_page]]

    @property
    def shown_total(self) -> list[tuple[Cell, bool]]:
        return self._shown(self.total) if self.total else []

    @property
    def rows(self) -> Iterator[dict[str, Value]]:
        """All lines that are asked for, by the names of the columns."""
        names = [column.name for column in self.columns]
        for line in self.source.lines(self.columns, self.asked, most=None, offset=0):
            yield {name: cell.exact for name, cell in zip(names, line, strict=True)}

    @property
    def headings(self) -> list[Heading]:
        return [self._heading(column) for column in self.columns if not column.only_in_file]

    @property
    def choices(self) -> list[Select]:
        """What the lines can be narrowed to; a column in which all say the same offers nothing."""
        asked, found = self.asked, list(self.selects)
        for column in self.columns:
            texts = self.source.choices(self.columns, column)[:_MOST_CHOICES] if column.is_choice else ()
            chosen = asked.chosen.get(column.name, "")
            if len(texts) > 1 or chosen:
                options = [("", "all"), *((text, text) for text in texts)]
                found.append(Select(column.name, column.title, options, chosen))
        return found

    @property
    def is_narrowed(self) -> bool:
        asked = self.asked
        return bool(asked.search or asked.chosen or any(self._of(select.name) for select in self.selects))

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What else the page is asked, which filtering this table leaves as it is."""
        filters = {f"{self.name}-{name}" for name in ("q", "page", *(select.name for select in self.choices))}
        return [(name, str(value)) for name, value in self.query.items() if name not in filters]

    @property
    def export_link(self) -> str:
        return f"{self.export}?{self.query.urlencode()}"

    @property
    def previous_link(self) -> str:
        return self._link(page=str(self.page - 1)) if self.page > 1 else ""

    @property
    def next_link(self) -> str:
        return self._link(page=str(self.page + 1)) if len(self._page_and_one) > self.lines_a_page else ""

    @cached_property
    def _page_and_one(self) -> Sequence[Line]:
        """The lines of this page, and one that tells whether there is another."""
        offset = (self.page - 1) * self.lines_a_page
        return self.source.lines(self.columns, self.asked, most=self.lines_a_page + 1, offset=offset)

    def _shown(self, line: Line) -> list[tuple[Cell, bool]]:
        both = zip(line, self.columns, strict=True)
        return [(cell, column.is_number) for cell, column in both if not column.only_in_file]

    def _of(self, name: str) -> str:
        return self.query.get(f"{self.name}-{name}", "").replace("\0", "")

    def _link(self, **changes: str | None) -> str:
        """The address of the page with something else asked of this table; None takes it away."""
        query = self.query.copy()
        for name, value in changes.items():
            query.pop(f"{self.name}-{name}", None)
            if value is not None:
                query[f"{self.name}-{name}"] = value
        return f"?{query.urlencode()}#{self.name}"

    def _heading(self, column: Column) -> Heading:
        order = self.asked.order
        state = {column.name: "ascending", f"-{column.name}": "descending"}.get(order, "")
        first, other = column.name, f"-{column.name}"
        if column.is_number:
            first, other = other, first
        link = self._link(sort=other if order == first else first, page=None)
        return Heading(column.title, column.is_number, link, state)
