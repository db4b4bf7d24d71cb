"""The wire formats that Bursar speaks, one module each. A vendor is data; only a wire format is code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from kong_plugins.llm.body import Body, parse_body
from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.forms import is_form, parse_form
from kong_plugins.llm.protocols import (
    anthropic_messages,
    bedrock,
    bedrock_converse,
    bedrock_invoke,
    cohere_chat,
    gemini,
    ollama_chat,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_responses,
    openai_speech,
    openai_transcriptions,
)
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.invoke_usage import ANSWER_HEADERS as INVOKE_HEADERS
from kong_plugins.llm.requests import Asked, ModelRequest, Target


class WireFormat(Protocol):
    """What each module of this package provides."""

    @property
    def READS_TARGET(self) -> bool:  # noqa: N802 - a constant of each module
        """Whether a request says things in its path or query."""

    def parse_request(self, body: Body, asked: Asked) -> ModelRequest:
        """Read a request; raises `InvalidRequest` for what is malformed or cannot be metered."""

    def upstream_changes(
        self, body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
    ) -> dict[str, object]:
        """The members that the provider must see otherwise than the client has written them."""

    def upstream_target(self, base_path: str, request: ModelRequest, provider_model: str) -> Target:
        """Where the call goes under the path of a deployment's base URL."""

    def credential_headers(self, credential: str) -> dict[str, str]:
        """The headers by which the provider knows who pays."""

    def limit_headers(self, unit: str, *, amount: int, remaining: int, reset_ms: int, now_ms: int) -> dict[str, str]:
        """How the limit of `unit` (requests or tokens) stands, in the headers that clients of this format read."""

    def error_body(self, error: BursarError) -> str:
        """The error in the words of this format, as JSON."""

    def read_answer(self, answer: Answer) -> Reading:
        """What the provider's answer says of its usage."""


_WIRE_FORMATS: Final[Mapping[str, WireFormat]] = {
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "openai_embeddings": openai_embeddings,
    "openai_completions": openai_completions,
    "openai_images": openai_images,
    "openai_speech": openai_speech,
    "openai_transcriptions": openai_transcriptions,
    "anthropic_messages": anthropic_messages,
    "gemini": gemini,
    "cohere_chat": cohere_chat,
    "ollama_chat": ollama_chat,
    "bedrock_converse": bedrock_converse,
    "bedrock_invoke": bedrock_invoke,
}

# The paths on which Kong serves them, by which a caller names one.
_PATHS: Final[Mapping[str, str]] = {
    r"/v1/chat/completions": "openai_chat",
    r"/v1/responses": "openai_responses",
    r"/v1/embeddings": "openai_embeddings",
    r"/v1/completions": "openai_completions",
    openai_images.PATH: "openai_images",
    r"/v1/audio/speech": "openai_speech",
    openai_transcriptions.PATH: "openai_transcriptions",
    r"/v1/messages": "anthropic_messages",
    gemini.PATH: "gemini",
    r"/v2/chat": "cohere_chat",
    ollama_chat.PATH: "ollama_chat",
    r"/model/[^/]+/converse(-stream)?": "bedrock_converse",
    r"/model/[^/]+/invoke(-with-response-stream)?": "bedrock_invoke",
}

# The formats whose answers tell usage in headers, and those in which an error shows in status and headers, too.
_ANSWER_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {"bedrock_invoke": INVOKE_HEADERS}
# The formats whose requests are forms, and those in which some are.
_ALWAYS_FORMS: Final = frozenset({"openai_transcriptions"})
_MAYBE_FORMS: Final = frozenset({"openai_images"})
_AWS_FORMATS: Final = frozenset({"bedrock_converse", "bedrock_invoke"})

PROTOCOL_NAMES: Final = tuple(_WIRE_FORMATS)


def wire_format(name: str) -> WireFormat:
    """The wire format of this name.

    Raises:
        KeyError: there is none.
    """
    return _WIRE_FORMATS[name]


def read_body(name: str, data: bytes, content_type: str) -> Body:
    """A request's body in this wire format.

    Raises:
        InvalidRequest: not every reader would understand it in the same way.
    """
    if name in _ALWAYS_FORMS or (name in _MAYBE_FORMS and is_form(content_type)):
        return parse_form(data, content_type)
    return parse_body(data)


def answer_headers(name: str) -> tuple[str, ...]:
    """The headers, by their lower-case names, that reading an answer in this wire format takes beside its body."""
    return _ANSWER_HEADERS.get(name, ())


def error_head(name: str, error: BursarError) -> tuple[int, dict[str, str]]:
    """The status of the error in this wire format, and its headers."""
    headers = {"content-type": "application/json", **error.headers()}
    if name in _AWS_FORMATS:
        return bedrock.error_status(error), headers | bedrock.error_headers(error)
    return error.http_status, headers


def path_in(path: str, name: str) -> str:
    """The end of a path at which this wire format is served, as a gateway may have put something before it; the path
    itself where there is none."""
    starts = (at for at, character in enumerate(path) if character == "/")
    return next((path[at:] for at in starts if protocol_of_path(path[at:]) == name), path)


def protocol_of_path(path: str) -> str | None:
    """The name of the wire format that is spoken on a path; None where there is no such path."""
    return next((name for pattern, name in _PATHS.items() if re.fullmatch(pattern, path)), None)
