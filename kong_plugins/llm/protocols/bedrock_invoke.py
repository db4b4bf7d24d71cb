"""Bedrock's InvokeModel (POST /model/{modelId}/invoke and /invoke-with-response-stream) for Anthropic's models.

The body is that of Anthropic's Messages, without the model, and is checked as such; the bodies of other makers' models
are refused, since Converse serves those models too. Options that cost more stand in headers, and are refused but for
service tiers. https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import anthropic_messages, bedrock
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import Check, check_members, is_one_of, items_of
from kong_plugins.llm.protocols.eventstream import is_event_stream
from kong_plugins.llm.protocols.invoke_usage import read_invocation, read_invocation_stream
from kong_plugins.llm.requests import OPTION_PREFIX, Asked, ModelRequest, Target

READS_TARGET: Final = True
limit_headers = bedrock.limit_headers
credential_headers = bedrock.credential_headers
error_body = bedrock.error_body

_STREAM: Final = "invoke-with-response-stream"
_VERSION: Final = "bedrock-2023-05-31"
_TIER: Final = f"{OPTION_PREFIX}service-tier"
_PRICED_OPTIONS: Final = {"service-tier": bedrock.SERVICE_TIERS, "performanceconfig-latency": ("standard",)}
# Members that Bedrock says otherwise: in the path, or in a header.
_OTHERWISE: Final = frozenset({"model", "stream", "service_tier", "speed", "inference_geo"})


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member or a header has a wrong type or value, or cannot be metered.
    """
    model, operation = bedrock.asked_model(asked)
    bedrock.check_options(asked, priced=_PRICED_OPTIONS)
    if body.get("anthropic_version") is None:
        raise InvalidRequest(
            "Of what InvokeModel takes, only the bodies of Anthropic's models, which have an anthropic_version, are "
            "available through this gateway. Call other models with Converse.",
            param="anthropic_version",
        )
    anthropic_messages.check_betas(asked.betas)
    check_members(body, _CHECKS, untouched=anthropic_messages.UNTOUCHED)
    request = anthropic_messages.message_request(body, model=model, stream=operation == _STREAM)
    tiers = bedrock.SERVICE_TIERS[asked.options.get(_TIER, "default")]
    return msgspec.structs.replace(request, service_tiers=tiers)


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The granted output."""
    return {} if body.get("max_tokens") == granted_max_tokens else {"max_tokens": granted_max_tokens}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL."""
    return bedrock.upstream_target(base_path, provider_model, _STREAM if request.stream else "invoke")


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    if not answer.is_readable:
        return Reading()
    return read_invocation_stream(answer) if is_event_stream(answer) else read_invocation(answer)


def _are_betas(value: Any, name: str) -> None:
    anthropic_messages.check_betas(str(beta) for beta in items_of(value, name))


_CHECKS: Final[Mapping[str, Check]] = {
    **{name: check for name, check in anthropic_messages.CHECKS.items() if name not in _OTHERWISE},
    "anthropic_version": is_one_of(_VERSION),
    "anthropic_beta": _are_betas,
}
