"""What token endpoints are asked, and what is made of their answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kong_plugins.llm.oauth import (
    AccessToken,
    EntraClient,
    ServiceAccount,
    TokenRequest,
    TokenUnavailable,
    fetch_token,
    private_key_of,
)
from tests.llm.token_endpoint import KEY, TokenEndpoint, entra_client, pem, service_account, token_endpoint

NOW_MS = 1_800_000_000_500


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint() as running:
        yield running


def account(**changes: str) -> ServiceAccount:
    return msgspec.json.decode(service_account("https://oauth2.googleapis.com/token", **changes), type=ServiceAccount)


def part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_service_account_signs_that_it_is_itself_for_an_hour() -> None:
    form = account().request(NOW_MS).form

    header, claims, signature = form["assertion"].split(".")
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert json.loads(part(header)) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert json.loads(part(claims)) == {
        "iss": "bursar@acme.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
    }
    KEY.public_key().verify(part(signature), f"{header}.{claims}".encode(), PKCS1v15(), hashes.SHA256())


def test_a_private_key_of_another_kind_is_none() -> None:
    elliptic = generate_ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    for text, complaint in (("-----BEGIN-----", "no key in PEM"), (elliptic, "no RSA key")):
        with pytest.raises(ValueError, match=complaint):
            private_key_of(account(private_key=text))


def test_an_application_of_entra_asks_its_tenant_with_its_secret(endpoint: TokenEndpoint) -> None:
    client = msgspec.json.decode(entra_client(f"{endpoint.url}/"), type=EntraClient)

    token = fetch_token(client.request(NOW_MS))

    assert token == AccessToken(value="token-1", lifetime_ms=3_600_000)
    assert endpoint.paths == ["/acme.example/oauth2/v2.0/token"]
    assert endpoint.asked == [
        {
            "grant_type": "client_credentials",
            "client_id": "bursar",
            "client_secret": "s3cret",
            "scope": "https://cognitiveservices.azure.com/.default",
        }
    ]


def test_a_lifetime_may_be_written_as_text(endpoint: TokenEndpoint) -> None:
    endpoint.answers = [(200, {"access_token": "t", "expires_in": "60", "token_type": "Bearer"})]

    assert fetch_token(TokenRequest(url=endpoint.url, form={})).lifetime_ms == 60_000


@pytest.mark.parametrize(
    ("status", "content", "complaint"),
    [
        (200, b"<html>", "with no token"),
        (200, {"access_token": "t"}, "with no token"),
        (200, {"access_token": "t", "expires_in": "soon"}, "with no token"),
        (200, {"access_token": "t\r\nx-evil: 1", "expires_in": 60}, "with no token"),
        (302, b"", "answered 302$"),
        (307, b"", "answered 307$"),
        (400, {"error": "invalid_grant", "error_description": "s3cret"}, "answered 400 invalid_grant$"),
        (401, {"error": "s3cret, and more"}, "answered 401$"),
        (500, b"", "answered 500$"),
    ],
)
def test_what_is_no_token_is_named_without_a_secret_and_no_redirect_is_followed(
    endpoint: TokenEndpoint, status: int, content: Any, complaint: str
) -> None:
    endpoint.answers = [(status, content)]

    with pytest.raises(TokenUnavailable, match=complaint) as refusal:
        fetch_token(TokenRequest(url=endpoint.url, form={"client_secret": "s3cret"}))

    assert "s3cret" not in str(refusal.value)
    assert len(endpoint.paths) == 1


def test_an_endpoint_that_is_away_or_none_gives_no_token() -> None:
    with token_endpoint() as gone:
        pass

    for url, complaint in ((gone.url, "ConnectionRefusedError"), ("file:///etc/passwd", "no http")):
        with pytest.raises(TokenUnavailable, match=complaint):
            fetch_token(TokenRequest(url=url, form={}))


def test_the_endpoints_of_both_kinds_can_be_checked_before_they_are_asked() -> None:
    client = EntraClient(tenant_id="t", client_id="c", client_secret="s")

    assert account(private_key=pem()).endpoint == "https://oauth2.googleapis.com/token"
    assert client.endpoint == "https://login.microsoftonline.com/t/oauth2/v2.0/token"
