"""The functions of Kong's PDK by their full name, each with the phases in which it answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from minikong import phase
from minikong.errors import LuaFault
from minikong.exchange import Exchange
from minikong.lua_values import LuaValue

# A tuple stands for several return values; most often nil and an error text.
Result: TypeAlias = "LuaValue | tuple[LuaValue, ...]"


@dataclass(frozen=True, slots=True)
class Function:
    """A PDK function; `arity` None takes any number of arguments."""

    call: Callable[..., Result]
    phases: int
    arity: int | None


functions: dict[str, Function] = {}


def pdk(name: str, phases: int) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Register a function of an exchange and of Lua values under its name in Kong."""

    def register(call: Callable[..., Result]) -> Callable[..., Result]:
        parameters = list(inspect.signature(call).parameters.values())[1:]
        variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        functions[name] = Function(call, phases, None if variadic else len(parameters))
        return call

    return register


def call(name: str, exchange: Exchange, arguments: Sequence[LuaValue]) -> Result:
    """Call a known function as Lua would: arguments that are missing are nil, those too many are dropped.

    Raises LuaFault in a phase in which it does not answer, and where it refuses an argument.
    """
    function = functions[name]
    if not exchange.phase & function.phases:
        raise _wrong_phase(name, exchange.phase, function.phases)
    if function.arity is not None:
        arguments = (*arguments, *[None] * function.arity)[: function.arity]
    return function.call(exchange, *arguments)


def _wrong_phase(name: str, now: int, accepted: int) -> LuaFault:
    if now == phase.TIMER and accepted & phase.LOG:
        return LuaFault(f"{name}: API disabled in the context of ngx.timer")
    return LuaFault(f"{name}: function cannot be called in {phase.NAMES[now]} phase (only in: {phase.names(accepted)})")
