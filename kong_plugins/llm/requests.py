"""Who asks, and what is asked of a model, whatever the wire format."""

from __future__ import annotations

import msgspec

from kong_plugins.llm.keys import Principal
from kong_plugins.llm.tokens import Prompt


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A principal with what later steps need to know of its request's headers."""

    principal: Principal
    content_length: int | None = None
    content_encoding: str = ""
    trace_id: str | None = None


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call as asked for. `choices` is the number of answers, each of which may take the maximum of tokens;
    `wants_usage`: the client has asked for the usage chunk of its stream."""

    model: str
    prompt: Prompt
    stream: bool = False
    wants_usage: bool = False
    choices: int = 1
    requested_max_tokens: int | None = None
