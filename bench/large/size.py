"""How large the organization is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Size:
    """So many rows of each; the calls are of the last `days`."""

    teams: int = 10_000
    keys: int = 100_000
    rows: int = 5_000_000
    days: int = 60
    models: int = 24

    def as_environment(self) -> dict[str, str]:
        return {_variable(name): str(number) for name, number in asdict(self).items()}


def size_from(environment: Mapping[str, str]) -> Size:
    """The size that SEED_TEAMS, SEED_KEYS, SEED_ROWS, SEED_DAYS and SEED_MODELS ask for.

    Raises:
        ValueError: one of them is no number above 0, or there are fewer keys than teams.
    """
    usual = asdict(Size())
    size = Size(**{name: _number(environment, name, number) for name, number in usual.items()})
    if size.keys < size.teams:
        raise ValueError("SEED_KEYS must be at least SEED_TEAMS: every team has a key")
    return size


def _number(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(_variable(name)) or str(usual)
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{_variable(name)} must be a number above 0, not {text!r}")
    return int(text)


def _variable(name: str) -> str:
    return f"SEED_{name.upper()}"
