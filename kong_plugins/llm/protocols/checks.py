"""Checks of a request's top-level members, by name. An absent member and null are always let pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols.member_names import check_names

MAX_TOKENS: Final = 2**31 - 1

# Raises InvalidRequest for a value that a member of this name must not have.
Check = Callable[[Any, str], object]


def check_members(body: Body, checks: Mapping[str, Check], *, untouched: Collection[str]) -> None:
    """Check every member that is not known to leave the price alone, and how the names below are written.

    Raises:
        InvalidRequest: a check says so, or nobody knows the member.
    """
    for name in body.members:
        if name not in untouched:
            check_of(checks, name, name)(body.get(name), name)
    check_names(body)


def model_name(body: Body) -> str:
    """The model that is asked for. Raises: InvalidRequest."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model must be the name of a model.", param="model")
    return model


def message_list(body: Body) -> list[dict[str, Any]]:
    """The messages, each an object. Raises: InvalidRequest."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list of at least one message.", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequest("A message must be an object.", param=f"messages[{index}]")
    return messages


def items_of(value: Any, name: str) -> list[Any]:
    """The items of a list, none where it is absent. Raises: InvalidRequest."""
    if not isinstance(value, list | None):
        raise InvalidRequest(f"{name} must be a list.", param=name)
    return value or []


def is_flag(value: Any, name: str) -> None:
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false.", param=name)


def is_text(value: Any, name: str) -> None:
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string.", param=name)


def is_count(most: int) -> Check:
    def check(value: Any, name: str) -> None:
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise InvalidRequest(f"{name} must be a whole number between 1 and {most}.", param=name)

    return check


def is_one_of(*allowed: object) -> Check:
    def check(value: Any, name: str) -> None:
        if value is not None and value not in allowed:
            raise InvalidRequest(f"This value of {name} is not available through this gateway.", param=name)

    return check


def has_only(*names: str) -> Check:
    def check(value: Any, name: str) -> None:
        if value is not None and (not isinstance(value, dict) or not value.keys() <= set(names)):
            raise InvalidRequest(f"{name} may have {' and '.join(names)} through this gateway.", param=name)

    return check


def passes(_value: Any, _name: str) -> None:
    """The member is checked where it is read."""


def check_of(checks: Mapping[str, Check], name: str, place: str) -> Check:
    """The check of a member by its name. Raises: InvalidRequest: nobody knows the member at this place."""
    try:
        return checks[name]
    except KeyError:
        raise InvalidRequest(f"{place[:64]} is not available through this gateway.", param=place[:64]) from None
