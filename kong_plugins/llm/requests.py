"""What a client asks of a model, whatever the wire format."""

from __future__ import annotations

import msgspec

from kong_plugins.llm.tokens import Prompt


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call as asked for. `choices` is the number of answers, each of which may take the maximum of tokens;
    `wants_usage`: the client has asked for the usage chunk of its stream."""

    model: str
    prompt: Prompt
    stream: bool = False
    wants_usage: bool = False
    choices: int = 1
    requested_max_tokens: int | None = None
