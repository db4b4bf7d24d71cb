"""OpenAI's legacy completions (POST /v1/completions): the models of old, and many servers of open ones.

https://developers.openai.com/api/reference/resources/completions/methods/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import (
    MAX_TOKENS,
    Check,
    check_members,
    is_count,
    is_flag,
    is_text,
    model_name,
    passes,
)
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import (
    MAX_CHOICES,
    are_stream_options,
    check_headers,
    openai_credential_headers,
    openai_error_body,
    wants_usage,
    with_usage,
)
from kong_plugins.llm.protocols.openai_prompts import prompt_of
from kong_plugins.llm.protocols.openai_usage import read_completion, read_stream
from kong_plugins.llm.requests import Asked, ModelRequest, Target

READS_TARGET: Final = False
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

# What a request gets that does not say how much; what else Bursar puts in, its author did not expect.
_DEFAULT_MAX_TOKENS: Final = 16
# What the model reads where nothing is said to it.
_NO_PROMPT: Final = "<|endoftext|>"
_UNTOUCHED: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "min_p",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "top_p",
    }
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request. Each prompt is answered `n` times, out of the `best_of` answers that are written and billed.

    Raises:
        InvalidRequest: a member has a wrong type or value, or cannot be metered.
    """
    check_headers(asked)
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    value = body.get("prompt")
    prompt = prompt_of(_NO_PROMPT if value is None else value, "prompt", more_text=body.get("suffix"))
    return ModelRequest(
        model=model_name(body),
        prompt=prompt,
        stream=body.get("stream") is True,
        wants_usage=wants_usage(body),
        choices=max(body.get("n") or 1, body.get("best_of") or 1) * prompt.prompts,
        requested_max_tokens=body.get("max_tokens") or _DEFAULT_MAX_TOKENS,
        user=body.get("user"),
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model, the granted output, and usage at the end of a stream."""
    wanted: dict[str, object] = {"model": provider_model, "max_tokens": granted_max_tokens}
    if request.stream:
        wanted["stream_options"] = with_usage(body)
    return {name: value for name, value in wanted.items() if body.get(name) != value}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=base_path.rstrip("/") + "/completions")


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it; they tell it as chats do."""
    if not answer.is_readable:
        return Reading()
    return read_stream(answer) if answer.is_event_stream else read_completion(answer)


_CHECKS: Final[Mapping[str, Check]] = {
    "model": passes,
    "prompt": passes,
    "suffix": is_text,
    "max_tokens": is_count(MAX_TOKENS),
    "n": is_count(MAX_CHOICES),
    "best_of": is_count(MAX_CHOICES),
    "echo": is_flag,
    "stream": is_flag,
    "stream_options": are_stream_options,
    "user": is_text,
}
