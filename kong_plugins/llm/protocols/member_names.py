"""Names of members in the letter case in which every reader takes them.

Servers written in Go, as Ollama and many proxies are, take `Content` for `content`, and even a long s for an s:
https://pkg.go.dev/encoding/json#Unmarshal. What Bursar checks under one spelling must not reach them under another.
Top-level members need no look here: those that are not known are refused anyway.
"""

from __future__ import annotations

from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest

# What any wire format reads below the top level of a request, and what servers read there that bills by itself.
_READ: Final = {
    name.casefold(): name
    for name in (
        *("audio", "budget_tokens", "cache_control", "cachePoint", "content", "document", "edits", "environment"),
        *("file", "file_data", "file_id", "function", "image", "image_url", "images", "input_audio"),
        *("max_tokens", "maxTokens", "num_predict", "output", "role", "searchResult", "source", "thinking"),
        *("token_budget", "toolResult", "tools", "toolSpec", "ttl", "type", "user_id", "video"),
    )
}
# Members whose values belong to the caller, whatever is in them: schemas, arguments and labels.
_FREE: Final = frozenset(
    {
        *("additionalModelRequestFields", "arguments", "data", "env", "format", "input", "input_schema", "json"),
        *("logit_bias", "metadata", "parameters", "requestMetadata", "schema"),
    }
)
_FREE_AT_TOP: Final = _FREE - {"input"}


def check_names(body: Body) -> None:
    """Raises: InvalidRequest: below the top level, a member's name is one that is read but for its letter case."""
    pending: list[Any] = [member.value for name, member in body.members.items() if name not in _FREE_AT_TOP]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += [each for each in value if isinstance(each, list | dict)]
        elif isinstance(value, dict):
            for name, inner in value.items():
                _check_name(name)
                if name not in _FREE and isinstance(inner, list | dict):
                    pending.append(inner)


def _check_name(name: str) -> None:
    meant = _READ.get(name.casefold(), name)
    if meant != name:
        shown = name[:64]
        raise InvalidRequest(f"The member {shown!r} must be written {meant!r}.", param=shown)
