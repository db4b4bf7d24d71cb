"""What the provider refuses, in OpenAI's own shape."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.demo.conftest import Account

_CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def _post(account: Account, body: Any, **headers: str) -> httpx.Response:
    sent = {"authorization": f"Bearer {account.name}"} | headers
    return httpx.post(f"{account.provider_url}/v1/chat/completions", json=body, headers=sent)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "gpt-99"}, 404, "model_not_found"),
        ({"model": None}, 400, None),
        ({"messages": None}, 400, "missing_required_parameter"),
        ({"messages": []}, 400, "invalid_type"),
        ({"messages": [{"content": "hi"}]}, 400, None),
        ({"max_tokens": 0}, 400, "invalid_value"),
        ({"max_tokens": 16_385}, 400, "invalid_value"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, 400, None),
        ({"n": 129}, 400, "invalid_value"),
        ({"stream": "yes"}, 400, "invalid_type"),
        ({"stream_options": {"include_usage": True}}, 400, None),
        ({"messages": [{"role": "user", "content": "word " * 130_000}]}, 400, "context_length_exceeded"),
    ],
)
def test_a_bad_request_is_refused_and_costs_nothing(
    account: Account, change: dict[str, Any], status: int, code: str | None
) -> None:
    answer = _post(account, _CHAT | change)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == code
    assert account.only_call()["status"] == status
    assert account.books()["total_nusd"] == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_refused(account: Account, body: bytes) -> None:
    headers = {"authorization": f"Bearer {account.name}"}
    answer = httpx.post(f"{account.provider_url}/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("authorization", ["", "Basic sk-sim-x", "Bearer bsr_somebody_elses"])
def test_who_has_no_account_is_refused_but_seen(account: Account, authorization: str) -> None:
    answer = _post(account, _CHAT, authorization=authorization, **{"x-client-request-id": account.name})
    assert answer.status_code == 401
    calls = httpx.get(f"{account.provider_url}/_books").json()["calls"]
    assert [call["account"] for call in calls if call["client_request_id"] == account.name] == [None]


@pytest.mark.parametrize(
    ("account_name", "behaviour"),
    [
        ("sk-sim-x", {"token_ms": -1}),
        ("sk-sim-x", {"output_tokens": "many"}),
        ("sk-sim-x", {"fail_status": 200}),
        ("sk-sim-x", {"speed": 1}),
        ("x", {}),
    ],
)
def test_a_behaviour_that_makes_no_sense_is_refused(
    provider_url: str, account_name: str, behaviour: dict[str, Any]
) -> None:
    answer = httpx.put(f"{provider_url}/_behaviour", params={"account": account_name}, json=behaviour)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "data", "files"),
    [
        ("audio/transcriptions", {"model": "whisper-1"}, {"file": ("", b"")}),
        ("audio/transcriptions", {"model": "whisper-1", "file": "a"}, {"other": ("a.wav", b"RIFF")}),
        ("audio/transcriptions", {"model": "gpt-4o-transcribe", "response_format": "srt"}, {"file": ("a.wav", b"a")}),
        ("images/edits", {"model": "gpt-image-1.5", "prompt": "A parcel"}, {"mask": ("a.png", b"1")}),
    ],
)
def test_a_form_that_lacks_its_file_or_asks_for_too_much_is_refused(
    account: Account, path: str, data: dict[str, str], files: dict[str, tuple[str, bytes]]
) -> None:
    headers = {"authorization": f"Bearer {account.name}"}
    answer = httpx.post(f"{account.provider_url}/v1/{path}", data=data, files=files, headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("body", [b"", b"--b", b"--b\r\n\r\nx\r\n--b--\r\n"])
def test_a_form_that_is_none_is_refused(account: Account, body: bytes) -> None:
    headers = {"authorization": f"Bearer {account.name}", "content-type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{account.provider_url}/v1/images/edits", content=body, headers=headers)
    assert answer.status_code == 400
