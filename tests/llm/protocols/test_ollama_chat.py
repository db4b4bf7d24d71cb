"""A request for Ollama is read strictly: what cannot be metered is refused, the rest is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest, ModelNotFound
from kong_plugins.llm.protocols import protocol_of_path, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest

OLLAMA = wire_format("ollama_chat")
HELLO = [{"role": "user", "content": "Hello there"}]
TOOL = {"type": "function", "function": {"name": "get_weather"}}


def read(path: str = "/api/chat", **members: Any) -> ModelRequest:
    return OLLAMA.parse_request(parse_body(json.dumps({"model": "mini"} | members).encode()), Asked(path=path))


def chat(**members: Any) -> ModelRequest:
    return read(**({"messages": HELLO} | members))


def generate(**members: Any) -> ModelRequest:
    return read("/api/generate", **({"prompt": "Hello there"} | members))


def test_an_answer_streams_unless_the_request_says_no() -> None:
    assert (chat().stream, chat(stream=True).stream, chat(stream=False).stream) == (True, True, False)
    assert generate(stream=None).stream
    assert chat().wants_usage


def test_a_full_chat_is_read() -> None:
    request = chat(
        messages=[*HELLO, {"role": "assistant", "content": "", "thinking": "Hm", "tool_calls": [{"function": {}}]}],
        options={"num_predict": 500, "temperature": 0.1, "num_ctx": 8192},
        tools=[TOOL, {"function": {}}],
        format={"type": "object"},
        think="high",
        keep_alive="5m",
    )

    assert (request.requested_max_tokens, request.thinks, request.way) == (500, True, "chat")
    assert {"Hello there", "Hm"} <= set(request.prompt.texts)
    assert request.prompt.schema_bytes >= len(json.dumps([TOOL]))
    assert (chat(think=False).thinks, chat().thinks) == (False, None)


def test_a_full_completion_is_read() -> None:
    request = generate(system="Be brief.", suffix="END", context=[101, 102], raw=True, options={"num_predict": -1})

    assert (request.requested_max_tokens, request.way) == (None, "generate")
    assert {"Hello there", "Be brief.", "END", "101", "102"} <= set(request.prompt.texts)
    assert chat(options={"num_predict": -2}).requested_max_tokens is None
    assert chat(options=None) == chat()


def test_pictures_are_not_bounded_by_their_bytes() -> None:
    for prompt in (
        chat(messages=[{"role": "user", "content": "See:", "images": ["iVBO"]}]).prompt,
        generate(images=["iVBO"]).prompt,
    ):
        assert (prompt.has_media, prompt.texts) == (True, ())


@pytest.mark.parametrize(
    ("path", "member", "value", "param"),
    [
        ("/api/chat", "model", "", "model"),
        ("/api/chat", "messages", [], "messages"),
        ("/api/chat", "prompt", "Hello", "prompt"),
        ("/api/chat", "tools", [{"type": "web_search"}], "tools[0]"),
        ("/api/chat", "tools", ["search"], "tools[0]"),
        ("/api/chat", "think", 5, "think"),
        ("/api/chat", "stream", "no", "stream"),
        ("/api/chat", "options", [], "options"),
        ("/api/chat", "options", {"num_gpu": 1}, "options.num_gpu"),
        ("/api/chat", "options", {"num_predict": 0}, "options.num_predict"),
        ("/api/chat", "options", {"num_predict": -3}, "options.num_predict"),
        ("/api/chat", "options", {"num_predict": -1.0}, "options.num_predict"),
        ("/api/chat", "options", {"NUM_PREDICT": 5}, "options.NUM_PREDICT"),
        ("/api/generate", "prompt", "", "prompt"),
        ("/api/generate", "prompt", ["Hello"], "prompt"),
        ("/api/generate", "template", "{{ .Prompt }}{{ .Prompt }}", "template"),
        ("/api/generate", "context", "101", "context"),
        ("/api/generate", "images", "iVBO", "images"),
        ("/api/generate", "messages", HELLO, "messages"),
    ],
)
def test_what_cannot_be_metered_is_refused(path: str, member: str, value: Any, param: str) -> None:
    base: dict[str, Any] = {"messages": HELLO} if path == "/api/chat" else {"prompt": "Hello"}

    with pytest.raises(InvalidRequest) as caught:
        read(path, **(base | {member: value}))

    assert caught.value.param == param


@pytest.mark.parametrize("path", ["/api/embed", "/api/pull", "/api/chat/", "/x/api/chat", ""])
def test_another_path_is_none_of_this_format(path: str) -> None:
    with pytest.raises(InvalidRequest, match="path"):
        read(path)
    assert protocol_of_path(path) is None


def test_only_the_models_name_and_the_maximum_are_changed() -> None:
    body = parse_body(json.dumps({"model": "mini", "messages": HELLO, "options": {"seed": 1}}).encode())
    request = OLLAMA.parse_request(body, Asked(path="/api/chat"))

    def changes(model: str, granted: int) -> dict[str, object]:
        return OLLAMA.upstream_changes(body, request, provider_model=model, granted_max_tokens=granted)

    assert changes("llama3.2", 30) == {"model": "llama3.2", "options": {"seed": 1, "num_predict": 30}}
    assert changes("mini", 30) == {"options": {"seed": 1, "num_predict": 30}}


def test_each_call_goes_to_its_own_path() -> None:
    assert OLLAMA.upstream_target("/api", chat(), "llama3.2").path == "/api/chat"
    assert OLLAMA.upstream_target("/api/", generate(), "llama3.2").path == "/api/generate"
    assert OLLAMA.credential_headers("k") == {"authorization": "Bearer k"}
    assert protocol_of_path("/api/generate") == protocol_of_path("/api/chat") == "ollama_chat"


def test_an_error_is_written_as_ollama_writes_it() -> None:
    written = json.loads(OLLAMA.error_body(ModelNotFound("The model does not exist.", param="model")))

    assert written == {"error": "The model does not exist.", "code": "model_not_found", "param": "model"}
