"""A request for Gemini is read strictly, in both of its spellings: what cannot be metered is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import (
    BursarError,
    InsufficientQuota,
    InvalidApiKey,
    InvalidRequest,
    ModelNotAllowed,
    ModelNotFound,
    PolicyUnavailable,
    RequestTooLarge,
)
from kong_plugins.llm.protocols import protocol_of_path, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest

GEMINI = wire_format("gemini")
PATH = "/v1beta/models/mini:generateContent"
STREAM = "/v1beta/models/mini:streamGenerateContent"
HELLO = [{"role": "user", "parts": [{"text": "Hello there"}]}]
FUNCTION = {"functionDeclarations": [{"name": "get_weather", "parameters": {"type": "OBJECT"}}]}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
FILE = {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.com/a.mp4"}}


def body_of(**members: Any) -> bytes:
    return json.dumps({"contents": HELLO} | members).encode()


def read(*, path: str = PATH, query: str = "", **members: Any) -> ModelRequest:
    return GEMINI.parse_request(parse_body(body_of(**members)), Asked(path=path, query=query))


def config(**members: Any) -> ModelRequest:
    return read(generationConfig=members)


def parts(*listed: object) -> list[dict[str, object]]:
    return [{"role": "user", "parts": list(listed)}]


def test_the_smallest_request_is_read() -> None:
    request = read()

    assert (request.model, request.stream, request.choices, request.requested_max_tokens) == ("mini", False, 1, None)
    assert (request.thinks, request.thinking_tokens, request.more_thinking_tokens) == (None, 0, None)
    assert {"user", "Hello there"} <= set(request.prompt.texts)
    assert (request.prompt.message_count, request.prompt.schema_bytes, request.wants_usage) == (1, 0, True)
    assert request.service_tiers == ("standard",)


def test_a_full_request_is_read() -> None:
    request = read(
        contents=[
            *parts({"text": "What is the weather?"}),
            {
                "role": "model",
                "parts": [
                    {"text": "They ask …", "thought": True},
                    {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}, "thoughtSignature": "Cvs"},
                ],
            },
            {"role": "user", "parts": {"functionResponse": {"name": "get_weather", "response": {"sky": "rain"}}}},
        ],
        systemInstruction={"parts": {"text": "Be brief."}},
        tools=[FUNCTION],
        toolConfig={"functionCallingConfig": {"mode": "ANY"}},
        safetySettings=[],
        labels={"team": "search"},
        serviceTier="priority",
        generationConfig={
            "maxOutputTokens": 500,
            "candidateCount": 2,
            "temperature": 0.1,
            "responseModalities": ["TEXT"],
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT"},
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024},
        },
    )

    assert (request.requested_max_tokens, request.choices) == (500, 2)
    assert (request.thinks, request.thinking_tokens, request.more_thinking_tokens) == (True, 1024, 1024)
    assert {"Be brief.", "What is the weather?", "They ask …", "Oslo", "Cvs", "rain"} <= set(request.prompt.texts)
    assert request.prompt.message_count == 4
    assert request.prompt.schema_bytes >= len(json.dumps([FUNCTION])) + len('{"responseSchema": {"type": "OBJECT"}}')
    assert request.service_tiers == ("priority", "standard")


def test_both_spellings_are_read_but_not_one_beside_the_other() -> None:
    snake = read(
        system_instruction={"parts": [{"text": "Be brief."}]},
        generation_config={"max_output_tokens": 7, "thinkingConfig": {"thinking_budget": 0}},
        tools=[{"function_declarations": []}],
        contents=parts({"inline_data": {"mime_type": "image/png", "data": ""}}),
    )

    assert (snake.requested_max_tokens, snake.thinks, snake.more_thinking_tokens) == (7, False, 0)
    assert snake.prompt.has_media
    with pytest.raises(InvalidRequest, match="two spellings") as caught:
        config(maxOutputTokens=5, max_output_tokens=50_000)
    assert caught.value.param == "generationConfig.maxOutputTokens"
    with pytest.raises(InvalidRequest, match="two spellings"):
        read(generation_config={}, generationConfig={"maxOutputTokens": 5})


def test_null_means_absent() -> None:
    absent: dict[str, Any] = dict.fromkeys(("systemInstruction", "tools", "toolConfig", "generationConfig"))

    assert read(**absent) == read()
    assert config(maxOutputTokens=None, thinkingConfig={"thinkingBudget": None}, responseModalities=None) == read()
    assert config(thinkingConfig={"thinkingBudget": -1}) == read()
    assert read(serviceTier=None) == read(serviceTier="STANDARD") == read()


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/mini:generateContent", "mini"),
        ("/v1/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/v1beta1/publishers/google/models/mini:generateContent", "mini"),
        ("/v1/projects/p/locations/eu-west1/publishers/google/models/mini:generateContent", "mini"),
        # A name is looked up and never becomes a path, whatever it holds.
        ("/v1beta/models/team%2Fmini:generateContent", "team/mini"),
        ("/v1beta/models/..%2F..%2Fmini:generateContent", "../../mini"),
        ("/v1beta/models/mini%3Fkey=1:generateContent", "mini?key=1"),
        ("/v1beta/models/a:b:generateContent", "a:b"),
    ],
)
def test_the_path_names_the_model(path: str, model: str) -> None:
    request = read(path=path)

    assert (request.model, request.stream) == (model, False)
    assert protocol_of_path(path) == "gemini"
    target = GEMINI.upstream_target("/v1beta", request, "gemini-2.5-flash")
    assert (target.path, target.query) == ("/v1beta/models/gemini-2.5-flash:generateContent", "")


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/mini:countTokens",
        "/v1beta/models/mini:batchGenerateContent",
        "/v1beta/models/mini:generateContent/",
        "/v1beta/models/../mini:generateContent",
        "/v1beta/models//mini:generateContent",
        "/v1beta/models/:generateContent",
        "/v1beta/tunedModels/mini:generateContent",
        "/v1beta/x/../models/mini:generateContent",
        "",
    ],
)
def test_another_path_is_none_of_this_format(path: str) -> None:
    with pytest.raises(InvalidRequest, match="path"):
        read(path=path)
    assert protocol_of_path(path) is None


@pytest.mark.parametrize(
    ("query", "sent_on"),
    [("", ""), ("alt=sse", "alt=sse"), ("key=bsr_secret&alt=sse", "alt=sse"), ("%24alt=sse", "alt=sse"), ("key=k", "")],
)
def test_a_stream_goes_on_in_the_form_that_was_asked_for_and_without_the_key(query: str, sent_on: str) -> None:
    request = read(path=STREAM, query=query)
    target = GEMINI.upstream_target("/v1beta/", request, "m/x?key=1&")

    assert request.stream
    assert (target.path, target.query) == ("/v1beta/models/m%2Fx%3Fkey%3D1%26:streamGenerateContent", sent_on)


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        (PATH, "alt=sse", "alt"),
        (STREAM, "alt=proto", "alt"),
        (STREAM, "alt=sse&alt=json", "alt"),
        (STREAM, "alt=sse&%24alt=proto", "alt"),
        (STREAM, "alt=sse&fields=candidates", "alt"),
        (PATH, "fields=candidates", "fields"),
        (PATH, "callback", "callback"),
        (PATH, "prettyPrint=false", "prettyPrint"),
    ],
)
def test_a_query_that_asks_for_something_else_is_refused(path: str, query: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(path=path, query=query)

    assert caught.value.param == param


@pytest.mark.parametrize("value", [0, -1, 1.5, 1.0, "10", True, [], 2**63])
def test_a_maximum_must_be_a_count(value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        config(maxOutputTokens=value)

    assert caught.value.param == "generationConfig.maxOutputTokens"


@pytest.mark.parametrize(
    ("member", "value", "param"),
    [
        ("contents", None, "contents"),
        ("contents", [], "contents"),
        ("contents", "hi", "contents"),
        ("contents", [None], "contents[0]"),
        ("contents", ["hi"], "contents[0]"),
        ("contents", [{"parts": "hi"}], "contents[0].parts"),
        ("contents", [{"text": "hi"}], "contents[0].text"),
        ("contents", parts("hi"), "contents[0].parts[0]"),
        ("contents", parts({"toolCall": {}}), "contents[0].parts[0].toolCall"),
        ("contents", parts({"fileData": {}}), "contents[0].parts[0].fileData"),
        ("contents", parts({"fileData": "f"}), "contents[0].parts[0].fileData"),
        ("contents", parts({"functionResponse": "f"}), "contents[0].parts[0].functionResponse"),
        ("contents", parts({"functionResponse": {"parts": 5}}), "contents[0].parts[0].functionResponse.parts"),
        ("systemInstruction", "Be brief.", "systemInstruction"),
        ("tools", "search", "tools"),
        ("tools", ["search"], "tools[0]"),
        ("tools", [FUNCTION, {"googleSearch": {}}], "tools[1]"),
        ("tools", [FUNCTION | {"codeExecution": {}}], "tools[0]"),
        ("tools", {"google_search": {}}, "tools[0]"),
        ("tools", [{"urlContext": {}}], "tools[0]"),
        ("toolConfig", {"includeServerSideToolInvocations": True}, "toolConfig.includeServerSideToolInvocations"),
        ("cachedContent", "cachedContents/1", "cachedContent"),
        ("cached_content", "cachedContents/1", "cachedContent"),
        ("model", "models/other", "model"),
        ("store", True, "store"),
        ("continuationToken", "c", "continuationToken"),
        ("serviceTier", "batch", "serviceTier"),
        ("serviceTier", 5, "serviceTier"),
        ("generationConfig", [], "generationConfig"),
        ("generationConfig", {"candidateCount": 9}, "generationConfig.candidateCount"),
        ("generationConfig", {"responseModalities": ["IMAGE"]}, "generationConfig.responseModalities"),
        ("generationConfig", {"speechConfig": {}}, "generationConfig.speechConfig"),
        ("generationConfig", {"routingConfig": {}}, "generationConfig.routingConfig"),
        ("generationConfig", {"MaxOutputTokens": 5}, "generationConfig.MaxOutputTokens"),
        ("generationConfig", {"thinkingConfig": 5}, "generationConfig.thinkingConfig"),
        (
            "generationConfig",
            {"thinkingConfig": {"thinkingBudget": -2}},
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        (
            "generationConfig",
            {"thinkingConfig": {"thinkingBudget": False}},
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        ("generationConfig", {"thinkingConfig": {"deep": 1}}, "generationConfig.thinkingConfig.deep"),
    ],
)
def test_what_cannot_be_metered_is_refused(member: str, value: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{member: value})

    assert caught.value.param == param


def test_several_answers_cannot_be_streamed() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(path=STREAM, generationConfig={"candidateCount": 2})

    assert caught.value.param == "generationConfig.candidateCount"


@pytest.mark.parametrize(
    "part", [IMAGE, FILE, {"functionResponse": {"parts": [IMAGE]}}], ids=["inline", "file", "of-a-function"]
)
def test_media_are_not_bounded_by_their_bytes(part: object) -> None:
    prompt = read(contents=parts({"text": "See:"}, part)).prompt

    assert (prompt.has_media, prompt.texts) == (True, ())


@pytest.mark.parametrize(
    "uri",
    [
        "https://generativelanguage.googleapis.com/v1beta/files/of-another-team",
        "https://GenerativeLanguage.GoogleAPIs.com./v1beta/files/x",
        "https://user@storage.googleapis.com:443/bucket/x",
        "https://googleapis.com/x",
        "gs://bucket/x",
        "files/x",
        "https://[::1",
        "https:///x",
    ],
)
def test_a_file_in_the_providers_account_is_nobodys_to_name(uri: str) -> None:
    with pytest.raises(InvalidRequest, match="public https"):
        read(contents=parts({"fileData": {"fileUri": uri}}))


def test_only_the_maximum_is_changed_in_the_spelling_of_the_request() -> None:
    def changed(data: bytes, granted: int = 300) -> bytes:
        body = parse_body(data)
        request = GEMINI.parse_request(body, Asked(path=PATH))
        wanted = GEMINI.upstream_changes(body, request, provider_model="gemini-2.5-flash", granted_max_tokens=granted)
        for splice in reversed(body.splices(wanted)):
            at, length, replacement = splice
            data = data[:at] + replacement.encode() + data[at + length :]
        return data

    hello = b'"contents":[{"parts":[{"text":"\xc3\xa9"}]}]'
    assert changed(b"{" + hello + b"}") == b'{"generationConfig":{"maxOutputTokens":300},' + hello + b"}"
    assert (
        changed(b'{"generation_config": {"top_p": 0.1, "max_output_tokens": 9}, ' + hello + b"}")
        == b'{"generation_config": {"top_p":0.1,"max_output_tokens":300}, ' + hello + b"}"
    )
    same = b'{"generationConfig": {"maxOutputTokens": 300}, ' + hello + b"}"
    assert changed(same) == same


def test_the_key_goes_where_google_looks_for_it() -> None:
    assert GEMINI.credential_headers("AIza") == {"x-goog-api-key": "AIza"}


def test_vertex_is_a_base_url() -> None:
    base = "/v1/projects/acme/locations/europe-west1/publishers/google"
    target = GEMINI.upstream_target(base, read(), "gemini-2.5-flash")

    assert target.path == f"{base}/models/gemini-2.5-flash:generateContent"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidApiKey("m"), "UNAUTHENTICATED"),
        (ModelNotAllowed("m"), "PERMISSION_DENIED"),
        (ModelNotFound("m", param="model"), "NOT_FOUND"),
        (RequestTooLarge("m"), "INVALID_ARGUMENT"),
        (InsufficientQuota("m"), "RESOURCE_EXHAUSTED"),
        (PolicyUnavailable("m", retry_after_ms=1500), "UNAVAILABLE"),
        (BursarError("m"), "INTERNAL"),
    ],
)
def test_an_error_is_written_as_google_writes_it(error: BursarError, status: str) -> None:
    written = json.loads(GEMINI.error_body(error))["error"]

    assert (written["code"], written["message"], written["status"]) == (error.http_status, "m", status)
    reason, *rest = written["details"]
    assert (reason["reason"], reason["metadata"]["code"]) == (error.code.upper(), error.code)
    assert reason["metadata"].get("param") == error.param
    assert [detail["retryDelay"] for detail in rest] == (["1.5s"] if error.retry_after_ms else [])
