"""What all of OpenAI's wire formats have in common: headers, the credential, the words of an error, service tiers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import BursarError, InsufficientQuota, InvalidRequest, RateLimitExceeded
from kong_plugins.llm.protocols.anthropic_messages import check_betas
from kong_plugins.llm.protocols.bedrock import check_options
from kong_plugins.llm.protocols.checks import is_flag, is_one_of
from kong_plugins.llm.requests import Asked
from kong_plugins.llm.usage import STANDARD_TIER

MAX_CHOICES: Final = 128
# What OpenAI and those who speak as it does call their tiers, by the names of ours. Groq's own is "on_demand".
# https://developers.openai.com/api/docs/guides/fast-mode, https://console.groq.com/docs/service-tiers
_SERVED_TIERS: Final[Mapping[str, str]] = {
    "default": STANDARD_TIER,
    "on_demand": STANDARD_TIER,
    "standard": STANDARD_TIER,
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}


# At which tiers a call that names one may be billed: the others serve at the standard one where they are full.
_ASKED_TIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "auto": (STANDARD_TIER,),
    "default": (STANDARD_TIER,),
    "flex": ("flex", STANDARD_TIER),
    "priority": ("priority", STANDARD_TIER),
    "fast": ("priority", STANDARD_TIER),
}

is_known_tier: Final = is_one_of(*_ASKED_TIERS)


def check_headers(asked: Asked) -> None:
    """Refuse what a header chooses that may have a price at vendors who speak as OpenAI does: Anthropic's betas, there
    and at OpenRouter, and Bedrock's guardrails. Raises: InvalidRequest.

    https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html
    """
    check_betas(asked.betas)
    check_options(asked, priced={})


def openai_credential_headers(credential: str) -> dict[str, str]:
    """The provider's key where OpenAI, and all that speak as it does, look for it."""
    return {"authorization": f"Bearer {credential}"}


def openai_error_body(error: BursarError) -> str:
    """The error as OpenAI writes it, so that SDKs raise their own exceptions with our code."""
    content = {"message": error.message, "type": _error_type(error), "param": error.param, "code": error.code}
    return json.dumps({"error": content})


def asked_tiers(body: Body) -> tuple[str, ...]:
    """The tiers at which a checked request may be billed. OpenAI takes "auto" for what the project is set to, which is
    the standard one unless somebody has set it otherwise: the answer tells."""
    return _ASKED_TIERS[body.get("service_tier") or "auto"]


def served_tier(told: object) -> str | None:
    """The tier that an answer names, by our name for it; None where it names none that has a price."""
    return _SERVED_TIERS.get(told) if isinstance(told, str) else None


def wants_usage(body: Body) -> bool:
    """Whether the client has asked for the usage chunk of its stream."""
    return (body.get("stream_options") or {}).get("include_usage") is True


def with_usage(body: Body) -> dict[str, object]:
    """The client's stream options, with usage at the end of the stream."""
    return (body.get("stream_options") or {}) | {"include_usage": True}


def are_stream_options(value: Any, name: str) -> None:
    """Raises: InvalidRequest: an option is not known to leave the price alone."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} must be an object.", param=name)
    for option, setting in value.items():
        if option not in ("include_usage", "include_obfuscation"):
            raise InvalidRequest("This stream option is not available through this gateway.", param=name)
        is_flag(setting, f"{name}.{option}")


def _error_type(error: BursarError) -> str:
    if isinstance(error, InsufficientQuota | RateLimitExceeded):
        return error.code
    return "invalid_request_error" if error.http_status < 500 else "server_error"
