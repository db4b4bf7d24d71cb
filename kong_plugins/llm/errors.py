"""The one tree of errors that a caller can see.

Each class fixes a stable `code`, an HTTP status and whether an SDK may try again. The message tells the
caller what to do; it may name the scope that refused, never a cap, a key or a prompt. A wire format
renders an error in its own dialect (`protocols/*.error_body`).

    BursarError
    ├── AuthenticationError          401
    │   └── InvalidApiKey            invalid_api_key
    ├── PermissionDenied             403
    │   ├── ModelNotAllowed          model_not_allowed
    │   ├── NetworkNotAllowed        network_not_allowed
    │   ├── RouteNotAllowed          route_not_allowed
    │   └── TeamMismatch             team_mismatch
    ├── NotFound                     404
    │   └── ModelNotFound            model_not_found
    ├── InvalidRequest               400  invalid_request
    │   ├── RequestTooLarge          413  request_too_large
    │   └── UnsupportedEncoding      415  unsupported_encoding
    ├── Refusal                      429
    │   ├── RateLimitExceeded        rate_limit_exceeded
    │   └── InsufficientQuota        insufficient_quota
    └── PolicyUnavailable            503  policy_unavailable
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import ClassVar


class BursarError(Exception):
    """What the gateway answers instead of the provider."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    should_retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        scope: str | None = None,
        retry_after_ms: int | None = None,
        earliest_at_ms: int | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.scope = scope
        self.retry_after_ms = retry_after_ms
        self.earliest_at_ms = earliest_at_ms
        self.more_headers = more_headers or {}

    def headers(self) -> dict[str, str]:
        """The answer's headers that SDKs obey: `retry-after`, and `x-should-retry` (openai and anthropic SDKs)."""
        headers = {**self.more_headers, "x-should-retry": "true" if self.should_retry else "false"}
        if self.retry_after_ms is not None:
            headers["retry-after"] = str(max(1, ceil(self.retry_after_ms / 1000)))
            headers["retry-after-ms"] = str(self.retry_after_ms)
        return headers


class AuthenticationError(BursarError):
    http_status = 401


class InvalidApiKey(AuthenticationError):
    code = "invalid_api_key"


class PermissionDenied(BursarError):
    http_status = 403


class ModelNotAllowed(PermissionDenied):
    code = "model_not_allowed"


class NetworkNotAllowed(PermissionDenied):
    code = "network_not_allowed"


class RouteNotAllowed(PermissionDenied):
    code = "route_not_allowed"


class TeamMismatch(PermissionDenied):
    code = "team_mismatch"


class NotFound(BursarError):
    http_status = 404


class ModelNotFound(NotFound):
    code = "model_not_found"


class InvalidRequest(BursarError):
    code = "invalid_request"
    http_status = 400


class RequestTooLarge(InvalidRequest):
    code = "request_too_large"
    http_status = 413


class UnsupportedEncoding(InvalidRequest):
    code = "unsupported_encoding"
    http_status = 415


class Refusal(BursarError):
    """A limit or a budget said no; `scope` names which."""

    http_status = 429


class RateLimitExceeded(Refusal):
    code = "rate_limit_exceeded"
    should_retry = True


class InsufficientQuota(Refusal):
    """The budget is used up. Retrying cannot help before the period ends, so SDKs are told not to."""

    code = "insufficient_quota"


class PolicyUnavailable(BursarError):
    """Bursar cannot decide right now, so nothing reaches a provider."""

    code = "policy_unavailable"
    http_status = 503
    should_retry = True


class StoreUnavailable(Exception):
    """Redis does not answer, or refuses to; nothing was decided. Callers get a PolicyUnavailable instead."""


class StoreNotAsked(StoreUnavailable):
    """Redis has not answered others just now, so it was not asked: nothing can have been held."""


class StoreClosed(StoreUnavailable):
    """This process has closed its store."""
