"""Charts as Chart.js draws them, each with the question that it answers and with its numbers as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from control_plane.amounts import rounded_usd_text, usd_text

# Colours that are told apart on white and on black, and by people who cannot tell red from green:
# https://jfly.uni-koeln.de/color/ (Okabe and Ito).
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a8a")
CAP_COLOUR: Final = "#d55e00"
_TEXT_COLOUR: Final = "#8b93a1"
_GRID_COLOUR: Final = "rgba(139, 147, 161, 0.2)"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, or the bars of one colour; a value that is not known is None. Money is in nano-USD."""

    name: str
    values: Sequence[int | None]
    colour: str = COLOURS[0]
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How values are written: exactly for Chart.js, and for people."""

    label: str
    exact: Callable[[int], str | int]
    text: Callable[[int], str]


USD: Final = Unit(label="US dollars", exact=usd_text, text=rounded_usd_text)
CALLS: Final = Unit(label="calls", exact=int, text=lambda value: f"{value:,}")
MILLISECONDS: Final = Unit(label="milliseconds", exact=int, text=lambda value: f"{value:,} ms")


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart under its question; `answer` says in words what is to be seen."""

    question: str
    answer: str
    kind: Literal["bar", "line"]
    unit: Unit
    labels: Sequence[str]
    series: Sequence[Series]
    stacked: bool = False

    @property
    def data(self) -> str:
        return json.dumps({"labels": list(self.labels), "datasets": [self._dataset(each) for each in self.series]})

    @property
    def options(self) -> str:
        axis: dict[str, Any] = {"ticks": {"color": _TEXT_COLOUR}, "grid": {"color": _GRID_COLOUR}}
        title = {"display": True, "text": self.unit.label, "color": _TEXT_COLOUR}
        legend = {"display": len(self.series) > 1, "labels": {"color": _TEXT_COLOUR, "boxWidth": 12}}
        ticks = {"color": _TEXT_COLOUR, "maxTicksLimit": 12, "maxRotation": 0}
        return json.dumps(
            {
                "animation": False,
                "responsive": True,
                "maintainAspectRatio": False,
                "interaction": {"mode": "index", "intersect": False},
                "plugins": {"legend": legend},
                "scales": {
                    "x": {"stacked": self.stacked, "ticks": ticks, "grid": {"display": False}},
                    "y": axis | {"stacked": self.stacked, "beginAtZero": True, "title": title},
                },
            }
        )

    @property
    def headings(self) -> list[str]:
        return [each.name for each in self.series]

    @property
    def lines(self) -> list[tuple[str, list[str]]]:
        """The same as a table: the label of each line, and its cells."""
        return [
            (label, [self._text(each.values[number]) for each in self.series])
            for number, label in enumerate(self.labels)
        ]

    def _text(self, value: int | None) -> str:
        return "" if value is None else self.unit.text(value)

    def _dataset(self, series: Series) -> dict[str, Any]:
        values = [None if value is None else self.unit.exact(value) for value in series.values]
        drawn: dict[str, Any] = {
            "label": series.name,
            "data": values,
            "borderColor": series.colour,
            "backgroundColor": series.colour,
        }
        if self.kind == "bar":
            return drawn | {"maxBarThickness": 24}
        dash = {"borderDash": [6, 4]} if series.dashed else {}
        return drawn | {"borderWidth": 2, "pointRadius": 0, "pointHitRadius": 8} | dash


def by_colour(values: dict[str, list[int]], *, most: int = len(COLOURS) - 1) -> list[Series]:
    """A series for each of the greatest, and one for all others together."""
    names = sorted(values, key=lambda name: (-sum(values[name]), name))
    series = [
        Series(name=name or "(none)", values=values[name], colour=COLOURS[n]) for n, name in enumerate(names[:most])
    ]
    if rest := names[most:]:
        together = [sum(column) for column in zip(*(values[name] for name in rest), strict=True)]
        series.append(Series(name="others", values=together, colour=COLOURS[-1]))
    return series
