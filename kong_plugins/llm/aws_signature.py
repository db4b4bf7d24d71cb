"""AWS Signature Version 4, as the headers of one POST.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html: what is signed is the
method, the path and the query as they are sent, the host, the instant, and the digest of the body. For every service
but S3, AWS takes repeated slashes for one and encodes the path once more before it signs it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_UNRESERVED: Final = "-_.~"


class AwsKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An access key of AWS; a temporary one has a session token."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class SignedPost(msgspec.Struct, frozen=True, kw_only=True):
    """The request as it leaves: `host` as in its Host header, `path` and `query` as in its first line."""

    host: str
    path: str
    query: str
    body: Iterable[bytes | memoryview]


def signature_headers(post: SignedPost, keys: AwsKeys, *, region: str, service: str, now_ms: int) -> dict[str, str]:
    """The headers that prove to AWS who sends the request; good for five minutes."""
    instant = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms // 1000))
    headers = {"host": post.host, "x-amz-date": instant}
    if keys.session_token is not None:
        headers["x-amz-security-token"] = keys.session_token
    signed = ";".join(sorted(headers))
    scope = f"{instant[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, instant, scope, _digest(_canonical(post, headers, signed))))
    signature = hmac.digest(_signing_key(keys.secret_access_key, scope), text.encode(), "sha256").hex()
    del headers["host"]
    proof = f"Credential={keys.access_key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    return {**headers, "authorization": f"{_ALGORITHM} {proof}"}


def _canonical(post: SignedPost, headers: dict[str, str], signed: str) -> str:
    lines = [f"{name}:{headers[name]}\n" for name in sorted(headers)]
    path = quote(re.sub("/{2,}", "/", post.path), safe=f"/{_UNRESERVED}")
    body = hashlib.sha256()
    for piece in post.body:
        body.update(piece)
    return "\n".join(("POST", path, _canonical_query(post.query), "".join(lines), signed, body.hexdigest()))


def _canonical_query(query: str) -> str:
    """The parameters in the order of their names and values, encoded as they were sent."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))


def _signing_key(secret_access_key: str, scope: str) -> bytes:
    key = f"AWS4{secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
