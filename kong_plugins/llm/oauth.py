"""Access tokens of providers that take no key: Vertex AI with a service account, Azure with an application of Entra.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest and
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import base64
import ssl
import urllib.request
from collections.abc import Mapping
from functools import cache
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_ASSERTION_S: Final = 3600
_TIMEOUT_S: Final = 10
_MOST_BYTES: Final = 65_536


class TokenUnavailable(Exception):
    """The token endpoint gave none; the message holds nothing that is secret."""


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token, and for how long after it was asked for it is good."""

    value: str
    lifetime_ms: int


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is POSTed to a token endpoint, as a form."""

    url: str
    form: Mapping[str, str]


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The key file of a Google service account, as far as it matters here."""

    type: Literal["service_account"]
    client_email: str
    private_key: str
    private_key_id: str
    token_uri: str = "https://oauth2.googleapis.com/token"

    @property
    def endpoint(self) -> str:
        return self.token_uri

    def request(self, now_ms: int) -> TokenRequest:
        """Raises:
        ValueError: the private key is none.
        """
        return TokenRequest(
            url=self.token_uri,
            form={"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": self._assertion(now_ms)},
        )

    def _assertion(self, now_ms: int) -> str:
        issued_s = now_ms // 1000
        header = {"alg": "RS256", "typ": "JWT", "kid": self.private_key_id}
        claims = {
            "iss": self.client_email,
            "scope": _GOOGLE_SCOPE,
            "aud": self.token_uri,
            "iat": issued_s,
            "exp": issued_s + _ASSERTION_S,
        }
        text = f"{_url_safe(msgspec.json.encode(header))}.{_url_safe(msgspec.json.encode(claims))}"
        return f"{text}.{_url_safe(private_key_of(self).sign(text.encode(), PKCS1v15(), hashes.SHA256()))}"


class EntraClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application of Entra with a client secret. National clouds have an authority and a scope of their own."""

    tenant_id: str
    client_id: str
    client_secret: str
    authority: str = "https://login.microsoftonline.com"
    scope: str = "https://cognitiveservices.azure.com/.default"

    @property
    def endpoint(self) -> str:
        return f"{self.authority.rstrip('/')}/{self.tenant_id}/oauth2/v2.0/token"

    def request(self, now_ms: int) -> TokenRequest:
        return TokenRequest(
            url=self.endpoint,
            form={
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
                "scope": self.scope,
            },
        )


class _Answer(msgspec.Struct, kw_only=True):
    access_token: str
    expires_in: int | str


class _Refusal(msgspec.Struct, kw_only=True):
    error: str


def private_key_of(account: ServiceAccount) -> RSAPrivateKey:
    """The key with which a service account signs.

    Raises:
        ValueError: it is no RSA key in PEM.
    """
    try:
        key = load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("private_key is no key in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key is no RSA key")
    return key


def fetch_token(request: TokenRequest) -> AccessToken:
    """Ask for a token. No redirect is followed: it could lead to where the address was not allowed to.

    Raises:
        TokenUnavailable: there is none; try again later.
    """
    if urlsplit(request.url).scheme not in ("http", "https"):
        raise TokenUnavailable("the token endpoint has no http(s) address")
    post = urllib.request.Request(request.url, data=urlencode(request.form).encode(), method="POST")
    try:
        with _opener().open(post, timeout=_TIMEOUT_S) as answer:
            return _token(answer.read(_MOST_BYTES))
    except HTTPError as error:
        raise TokenUnavailable(f"the token endpoint answered {error.code} {_reason(error)}".rstrip()) from None
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TokenUnavailable(f"the token endpoint did not answer: {type(reason).__name__}") from None


def _token(data: bytes) -> AccessToken:
    try:
        answer = msgspec.json.decode(data, type=_Answer)
        token = AccessToken(value=answer.access_token, lifetime_ms=int(answer.expires_in) * 1000)
    except (msgspec.MsgspecError, ValueError):
        raise TokenUnavailable("the token endpoint answered with no token") from None
    if not token.value.isascii() or not token.value.isprintable() or " " in token.value:
        raise TokenUnavailable("the token endpoint answered with no token")
    return token


def _reason(error: HTTPError) -> str:
    """The code of the refusal (RFC 6749, §5.2), which is no secret; its description may hold one."""
    try:
        with error:
            code = msgspec.json.decode(error.read(_MOST_BYTES), type=_Refusal).error
    except (msgspec.MsgspecError, OSError, HTTPException):
        return ""
    return code if len(code) <= 64 and code.replace("_", "").isalnum() else ""


def _url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Any:
        return None


@cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=ssl.create_default_context()))
