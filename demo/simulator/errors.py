"""The provider's refusals, in OpenAI's shape and words.

Source: https://platform.openai.com/docs/guides/error-codes/api-errors
"""

from __future__ import annotations

from typing import Any


class ProviderError(Exception):
    """An answer with an HTTP error status."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error_type = error_type
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.error_type, "param": self.param, "code": self.code}
        return {"error": error}


def missing_key() -> ProviderError:
    return ProviderError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY).",
    )


def incorrect_key() -> ProviderError:
    return ProviderError(401, "Incorrect API key provided.", code="invalid_api_key")


def unknown_model(name: str) -> ProviderError:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return ProviderError(404, message, code="model_not_found")


def invalid(message: str, param: str | None = None, code: str | None = None) -> ProviderError:
    return ProviderError(400, message, param=param, code=code)


def ordered_failure(status: int) -> ProviderError:
    """The failure that a behaviour asks for, as OpenAI words it."""
    if status == 429:
        message = "Rate limit reached for requests. Please try again in 1s."
        return ProviderError(429, message, error_type="requests", code="rate_limit_exceeded")
    if status == 503:
        message = "The engine is currently overloaded, please try again later."
        return ProviderError(503, message, error_type="server_error")
    message = "The server had an error while processing your request. Sorry about that!"
    return ProviderError(status, message, error_type="server_error")
