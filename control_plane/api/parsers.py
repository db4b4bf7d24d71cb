"""JSON as the REST API reads it: what two readers could understand differently is refused (RFC 8259, section 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, Final, NoReturn

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

# No field takes a number that is anywhere near as long.
_MOST_DIGITS: Final = 100
_OUT_OF_RANGE: Final = "a number is out of range"


class ClearJsonParser(BaseParser):
    """Refuses a name that occurs twice, NaN and infinity, numbers out of range, and nesting that is too deep."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return json.loads(
                stream.read().decode(),
                object_pairs_hook=_members,
                parse_constant=_no_constant,
                parse_float=_finite,
                parse_int=_countable,
            )
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except UnicodeDecodeError:
            raise ParseError("The body must be JSON in UTF-8.") from None
        except ValueError as error:
            raise ParseError(f"JSON parse error: {error}") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(_OUT_OF_RANGE)
    return number


def _countable(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(_OUT_OF_RANGE)
    return int(text)
