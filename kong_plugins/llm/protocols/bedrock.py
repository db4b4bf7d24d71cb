"""What Bedrock's wire formats have in common: the model in the path, options in headers, and AWS's own errors.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from kong_plugins.llm.errors import BursarError, InsufficientQuota, InvalidRequest
from kong_plugins.llm.protocols.checks import is_one_of
from kong_plugins.llm.requests import OPTION_PREFIX, Asked, Target
from kong_plugins.llm.usage import STANDARD_TIER

_PATH: Final = re.compile(r"/model/([^/]+)/([a-z-]+)")
# What these headers say has no price.
_FREE_OPTIONS: Final = frozenset({"accept", "content-type", "request-metadata", "trace"})
# Tiers that a request names, and those at which Bedrock may serve it; it says which in its answer.
# https://docs.aws.amazon.com/bedrock/latest/userguide/service-tiers-inference.html
SERVICE_TIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "default": (STANDARD_TIER,),
    "flex": ("flex", STANDARD_TIER),
    "priority": ("priority", STANDARD_TIER),
}
_TIER_NAMES: Final = {"default": STANDARD_TIER, "flex": "flex", "priority": "priority"}
_ERROR_TYPES: Final = {
    400: "ValidationException",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    413: "ValidationException",
    415: "ValidationException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


def asked_model(asked: Asked) -> tuple[str, str]:
    """The model and the operation that the path names. Raises: InvalidRequest."""
    match = _PATH.fullmatch(asked.path)
    if match is None:
        raise InvalidRequest("The path must be /model/<model id>/<operation>, with the model id URL-encoded.")
    return unquote(match[1], errors="replace"), match[2]


def check_options(asked: Asked, *, priced: Mapping[str, Collection[str]]) -> None:
    """Refuse what a header chooses that has a price, but for the values that are `priced`, by the header's name without
    its prefix. Raises: InvalidRequest."""
    for name, value in asked.options.items():
        option = name.removeprefix(OPTION_PREFIX)
        if option not in _FREE_OPTIONS:
            is_one_of(*priced.get(option, ()))(value, name)


def upstream_target(base_path: str, provider_model: str, operation: str) -> Target:
    """Where a call goes under the path of a deployment's base URL, which is empty at AWS itself."""
    return Target(path=f"{base_path.rstrip('/')}/model/{quote(provider_model, safe='')}/{operation}")


def credential_headers(credential: str) -> dict[str, str]:
    """A Bedrock API key where AWS looks for it."""
    return {"authorization": f"Bearer {credential}"}


def limit_headers(unit: str, *, amount: int, remaining: int, reset_ms: int, now_ms: int) -> dict[str, str]:
    """None: AWS tells its clients nothing of how its limits stand."""
    return {}


def error_status(error: BursarError) -> int:
    """AWS's SDKs try again after any 429; where the budget is used up, that only wastes time."""
    return 400 if isinstance(error, InsufficientQuota) else error.http_status


def error_headers(error: BursarError) -> dict[str, str]:
    """The kind of an error as AWS's SDKs read it, and when its own SDKs shall try again (in milliseconds)."""
    quota = "ServiceQuotaExceededException" if isinstance(error, InsufficientQuota) else None
    headers = {"x-amzn-errortype": quota or _ERROR_TYPES.get(error.http_status, "InternalServerException")}
    if error.retry_after_ms is not None:
        headers["x-amz-retry-after"] = str(error.retry_after_ms)
    return headers


def error_body(error: BursarError) -> str:
    """The error as AWS writes it, with our code beside its message; the kind that clients go by is in a header."""
    return json.dumps({"message": error.message, "code": error.code, "param": error.param})


def tier_served(name: object) -> str | None:
    """The tier that an answer names, by the name that prices use; None where it names none that is known."""
    return _TIER_NAMES.get(name) if isinstance(name, str) else None


def is_cached_for_an_hour(point: Any, where: str) -> bool:
    """Whether a cache point keeps what stands before it for an hour. Raises: InvalidRequest."""
    if not isinstance(point, dict) or point.get("type") != "default" or point.get("ttl") not in (None, "5m", "1h"):
        raise InvalidRequest("cachePoint must be of the type default, with a ttl of 5m or 1h.", param=where)
    return bool(point.get("ttl") == "1h")
