"""OpenAI's models at Azure, as the official SDK reaches them, and whom it turns away."""

from __future__ import annotations

import httpx
import openai
import pytest

from tests.demo.conftest import Account

MODEL = "gpt-4o-mini"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 5}
DATED = f"/openai/deployments/{MODEL}/chat/completions?api-version=2024-10-21"


def token(account: Account, **changes: str) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": "bursar",
        "client_secret": account.name,
        "scope": "https://cognitiveservices.azure.com/.default",
    }
    return httpx.post(f"{account.provider_url}/acme.example/oauth2/v2.0/token", data=form | changes)


def test_the_sdk_for_azure_is_answered_at_the_deployments_path_by_key_and_by_token(account: Account) -> None:
    credentials = ({"api_key": account.name}, {"azure_ad_token": token(account).json()["access_token"]})

    for credential in credentials:
        with openai.AzureOpenAI(
            azure_endpoint=account.provider_url, api_version="2024-10-21", max_retries=0, **credential
        ) as sdk:
            answer = sdk.chat.completions.create(
                model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Say hello."}]
            )
            assert answer.usage is not None
    assert [call["status"] for call in account.books()["calls"]] == [200, 200]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (DATED, {}, 401),
        (DATED, {"authorization": "Bearer {account}"}, 401),
        (DATED, {"authorization": "Bearer c2stc2ltLXg=.forged"}, 401),
        (DATED, {"authorization": "Bearer ÿ"}, 401),
        (DATED.partition("?")[0], {"api-key": "{account}"}, 404),
        ("/openai/v1/chat/completions", {"api-key": "{account}"}, 200),
    ],
)
def test_keys_and_tokens_are_good_in_their_own_place_alone(
    account: Account, path: str, headers: dict[str, str], status: int
) -> None:
    filled = [(name.encode(), value.replace("{account}", account.name).encode()) for name, value in headers.items()]

    assert httpx.post(account.provider_url + path, json=HELLO, headers=filled).status_code == status


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "unknown"}, "invalid_client"),
        ({"scope": "https://graph.microsoft.com/.default"}, "invalid_request"),
    ],
)
def test_an_application_gets_a_token_for_its_secret_and_for_this_scope(
    account: Account, changes: dict[str, str], error: str
) -> None:
    assert token(account, **changes).json() == {"error": error}
