"""Reads a chat completion request as OpenAI does: what is asked for, how long it is, how long the answer may be.

Overheads of the chat format: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from demo.catalog import DemoModel
from demo.simulator.errors import invalid, unknown_model
from demo.simulator.tokens import count_tokens

_MESSAGE_OVERHEAD_TOKENS = 3
_NAME_OVERHEAD_TOKENS = 1
_REPLY_OVERHEAD_TOKENS = 3
# A 1024 × 1024 picture in gpt-4o: 85 and 170 a tile, https://platform.openai.com/docs/guides/images-vision
_LOW_DETAIL_TOKENS = 85
_HIGH_DETAIL_TOKENS = 765
_MOST_CHOICES = 128


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that can be served. `max_output_tokens` bounds each of the `choices`."""

    model: DemoModel
    input_tokens: int
    max_output_tokens: int
    choices: int
    stream: bool
    include_usage: bool
    prompt: str


def requested_model(body: dict[str, Any], models: dict[str, DemoModel]) -> DemoModel:
    """The model asked for, by its name or its snapshot's.

    Raises:
        ProviderError: there is no such model, or none was named.
    """
    name = body.get("model")
    if not isinstance(name, str):
        raise invalid("you must provide a model parameter")
    if name not in models:
        raise unknown_model(name)
    return models[name]


def read_body(data: bytes) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        ProviderError: it is not one.
    """
    try:
        body = json.loads(data)
    except ValueError as error:
        raise invalid("We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise invalid("We could not parse the JSON body of your request: it must be an object.")
    return body


def read_chat_request(body: dict[str, Any], model: DemoModel) -> ChatRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: OpenAI would refuse it with status 400.
    """
    messages = _messages(body)
    input_tokens = _input_tokens(body, messages)
    if input_tokens > model.context_window_tokens:
        raise invalid(
            f"This model's maximum context length is {model.context_window_tokens} tokens. However, your messages "
            f"resulted in {input_tokens} tokens. Please reduce the length of the messages.",
            "messages",
            "context_length_exceeded",
        )
    stream = _boolean(body, "stream")
    options = body.get("stream_options")
    if options is not None and not stream:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    return ChatRequest(
        model=model,
        input_tokens=input_tokens,
        max_output_tokens=_max_output_tokens(body, model, model.context_window_tokens - input_tokens),
        choices=_positive_integer(body, "n", _MOST_CHOICES) or 1,
        stream=stream,
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        prompt=json.dumps(messages),
    )


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if messages is None:
        raise invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise invalid("Invalid type for 'messages': expected an array of objects.", "messages", "invalid_type")
    for index, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            raise invalid(f"Missing required parameter: 'messages[{index}].role'.", f"messages[{index}].role")
    return messages


def _max_output_tokens(body: dict[str, Any], model: DemoModel, room_tokens: int) -> int:
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise invalid("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    asked_tokens = _positive_integer(body, name)
    if asked_tokens is not None and asked_tokens > model.max_output_tokens:
        raise invalid(
            f"{name} is too large: {asked_tokens}. This model supports at most {model.max_output_tokens} completion "
            f"tokens, whereas you provided {asked_tokens}.",
            name,
            "invalid_value",
        )
    return min(asked_tokens or model.max_output_tokens, room_tokens)


def _positive_integer(body: dict[str, Any], name: str, most: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1 or (most is not None and value > most):
        raise invalid(f"Invalid value for '{name}': {value!r}.", name, "invalid_value")
    return value


def _boolean(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and type(value) is not bool:
        raise invalid(f"Invalid type for '{name}': expected a boolean.", name, "invalid_type")
    return bool(value)


def _input_tokens(body: dict[str, Any], messages: list[dict[str, Any]]) -> int:
    described = [body[name] for name in ("tools", "functions", "response_format") if body.get(name)]
    return (
        sum(_message_tokens(message) for message in messages)
        + sum(count_tokens(_compact(part)) for part in described)
        + _REPLY_OVERHEAD_TOKENS
    )


def _message_tokens(message: dict[str, Any]) -> int:
    tokens = _MESSAGE_OVERHEAD_TOKENS + (_NAME_OVERHEAD_TOKENS if "name" in message else 0)
    return tokens + sum(_value_tokens(value) for value in message.values())


def _value_tokens(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return count_tokens(value)
    if isinstance(value, list):
        return sum(_part_tokens(part) for part in value)
    return count_tokens(_compact(value))


def _part_tokens(part: Any) -> int:
    if isinstance(part, dict) and part.get("type") == "text":
        return count_tokens(str(part.get("text", "")))
    if isinstance(part, dict) and part.get("type") == "image_url":
        image = part.get("image_url")
        low = isinstance(image, dict) and image.get("detail") == "low"
        return _LOW_DETAIL_TOKENS if low else _HIGH_DETAIL_TOKENS
    return count_tokens(_compact(part))


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
