"""Ollama's own chat and completion (POST /api/chat and /api/generate), whose answers stream unless a request says no.

Members that leave the price alone pass untouched and any other is refused, such as a template, by which a prompt could
be written out many times. https://docs.ollama.com/api
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import BursarError, InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import (
    MAX_TOKENS,
    Check,
    check_members,
    is_count,
    is_flag,
    is_text,
    items_of,
    message_list,
    model_name,
    passes,
)
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.ollama_usage import read_lines
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt, strings_in

READS_TARGET: Final = True
# Ollama knows no limits; these headers are the ones that most clients know.
limit_headers = openai_limit_headers

PATH: Final = r"/api/(?P<method>chat|generate)"
_SCHEMA_MEMBERS: Final = ("tools", "format")
_UNTOUCHED: Final = frozenset({"format", "keep_alive", "logprobs", "raw", "top_logprobs"})
# Without bound, and until the context is full: what a request says that leaves the length to the model.
_UNBOUNDED: Final = (-1, -2)
_OPTIONS: Final = frozenset(
    {
        "frequency_penalty",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "num_ctx",
        "num_keep",
        "num_predict",
        "penalize_newline",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "seed",
        "stop",
        "temperature",
        "tfs_z",
        "top_k",
        "top_p",
        "typical_p",
    }
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: the path is none of this format's, or a member has a wrong type or value, or cannot be metered.
    """
    path = re.fullmatch(PATH, asked.path)
    if path is None:
        raise InvalidRequest("The path must be /api/chat or /api/generate.")
    method = path["method"]
    check_members(body, _CHECKS[method], untouched=_UNTOUCHED)
    wanted = (body.get("options") or {}).get("num_predict")
    return ModelRequest(
        model=model_name(body),
        prompt=_chat_prompt(body) if method == "chat" else _generate_prompt(body),
        stream=body.get("stream") is not False,
        # The last line of a stream is its end and its usage in one.
        wants_usage=True,
        requested_max_tokens=None if wanted in _UNBOUNDED else wanted,
        thinks=None if body.get("think") is None else body.get("think") is not False,
        way=method,
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model, and the granted output."""
    options = (body.get("options") or {}) | {"num_predict": granted_max_tokens}
    wanted: dict[str, object] = {"model": provider_model, "options": options}
    return {name: value for name, value in wanted.items() if body.get(name) != value}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/api`."""
    return Target(path=f"{base_path.rstrip('/')}/{request.way}")


def credential_headers(credential: str) -> dict[str, str]:
    """The key where Ollama's cloud, and proxies before a server of one's own, look for it."""
    return {"authorization": f"Bearer {credential}"}


def error_body(error: BursarError) -> str:
    """The error as Ollama writes it, with our code beside it."""
    return json.dumps({"error": error.message, "code": error.code, "param": error.param})


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    return read_lines(answer) if answer.is_readable else Reading()


def _chat_prompt(body: Body) -> Prompt:
    messages = message_list(body)
    return _prompt(body, messages, has_media=any(message.get("images") for message in messages))


def _generate_prompt(body: Body) -> Prompt:
    if not body.get("prompt"):
        raise InvalidRequest("prompt must be a text.", param="prompt")
    read = [body.get(name) for name in ("prompt", "system", "suffix", "context")]
    return _prompt(body, [part for part in read if part], has_media=bool(body.get("images")))


def _prompt(body: Body, parts: list[Any], *, has_media: bool) -> Prompt:
    return Prompt(
        texts=() if has_media else tuple(strings_in(parts, names=True)),
        message_count=len(parts),
        schema_bytes=sum(body.span_bytes(name) for name in _SCHEMA_MEMBERS if body.get(name)),
        has_media=has_media,
    )


def _are_options(value: Any, name: str) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} must be an object.", param=name)
    for option in value:
        if option not in _OPTIONS:
            place = f"{name}.{option}"[:64]
            raise InvalidRequest(f"{place} is not available through this gateway.", param=place)
    wanted = value.get("num_predict")
    if type(wanted) is not int or wanted not in _UNBOUNDED:
        is_count(MAX_TOKENS)(wanted, f"{name}.num_predict")


def _are_tools(value: Any, name: str) -> None:
    for index, tool in enumerate(items_of(value, name)):
        if not isinstance(tool, dict) or tool.get("type", "function") != "function":
            raise InvalidRequest("Only functions are available through this gateway.", param=f"{name}[{index}]")


def _is_thinking(value: Any, name: str) -> None:
    """Whether to think, or how hard."""
    if not isinstance(value, str):
        is_flag(value, name)


_CHECKS_OF_BOTH: Final[Mapping[str, Check]] = {
    "model": passes,
    "options": _are_options,
    "stream": is_flag,
    "think": _is_thinking,
}
_CHECKS: Final[Mapping[str, Mapping[str, Check]]] = {
    "chat": {**_CHECKS_OF_BOTH, "messages": passes, "tools": _are_tools},
    "generate": {
        **_CHECKS_OF_BOTH,
        "prompt": is_text,
        "system": is_text,
        "suffix": is_text,
        "images": items_of,
        "context": items_of,
    },
}
