"""Who calls AWS: a Bedrock API key, or an access key that has signed the request (Signature Version 4).

An account has one access key: its id is AKIA with the name in hexadecimal digits, its secret the name with `-secret`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote

from aiohttp import web

from demo.simulator.errors import ProviderError
from demo.simulator.form import bearer

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} +Credential=AKIA((?:[0-9A-F]{{2}})+)/([0-9]{{8}}/[^/,]+/bedrock/aws4_request), *"
    r"SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})"
)


def account_of(request: web.Request) -> str | None:
    """The account that a request names."""
    signed = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return bytes.fromhex(signed[1]).decode(errors="replace") if signed else bearer(request)


def verify(request: web.Request, body: bytes) -> None:
    """Check the signature of a request that has one.

    Raises:
        ProviderError: it is not that of the request as it arrived.
    """
    signed = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if signed is None:
        return
    _, scope, names, signature = signed.groups()
    if not {"host", "x-amz-date"} <= set(names.split(";")):
        raise ProviderError(403, "'Host' and 'X-Amz-Date' must be 'SignedHeaders' in the AWS Authorization.")
    text = "\n".join(
        (_ALGORITHM, request.headers["x-amz-date"], scope, _digest(_canonical(request, names, body).encode()))
    )
    key = f"AWS4{account_of(request)}-secret".encode()
    for part in scope.split("/"):
        key = _keyed(key, part)
    if not hmac.compare_digest(_keyed(key, text).hex(), signature):
        raise ProviderError(403, "The request signature we calculated does not match the signature you provided.")


def _canonical(request: web.Request, names: str, body: bytes) -> str:
    # Everywhere but in S3, the path is encoded once more than it is sent.
    path = quote(request.raw_path.partition("?")[0], safe="/~")
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names.split(";"))
    return "\n".join((request.method, path, "", headers, names, _digest(body)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _keyed(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
