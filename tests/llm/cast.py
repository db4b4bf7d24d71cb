"""The fixed cast of the core's tests: an organization with two teams, two models and one provider."""

from __future__ import annotations

from typing import Final

from kong_plugins.llm.credentials import new_credential_key, seal_credential
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.prices import Price
from kong_plugins.llm.release import Deployment, Model, PolicyDocument, Team

CREDENTIAL_KEY: Final = new_credential_key()
PROVIDER_KEY: Final = "sk-provider"
PRICE: Final = Price(
    version="2026-11",
    input_nusd=150_000_000,
    cache_read_nusd=75_000_000,
    cache_write_nusd=150_000_000,
    output_nusd=600_000_000,
)


def deployment(**changes: object) -> Deployment:
    fields: dict[str, object] = {
        "id": "mini-at-openai",
        "provider": "openai",
        "protocol": "openai_chat",
        "base_url": "https://api.example.com/v1",
        "provider_model": "gpt-4o-mini",
        "credential": "openai-main",
        "price": PRICE,
    }
    return Deployment(**(fields | changes))  # type: ignore[arg-type]


def policy(**changes: object) -> PolicyDocument:
    fields: dict[str, object] = {
        "organization": "acme",
        "number": 1,
        "created_by": "alice",
        "time_zone": "Europe/Berlin",
        "credentials": {"openai-main": SEALED},
        "deployments": (deployment(),),
        "models": (
            Model(
                name="mini",
                context_window_tokens=128_000,
                max_output_tokens=16_384,
                default_output_tokens=1024,
                deployments=("mini-at-openai",),
            ),
            Model(
                name="secret",
                context_window_tokens=8192,
                max_output_tokens=4096,
                default_output_tokens=512,
                deployments=(),
            ),
        ),
        "teams": (Team(id="search", tier="normal", models=("mini",)), Team(id="support", tier="critical")),
    }
    return PolicyDocument(**(fields | changes))  # type: ignore[arg-type]


def principal(**changes: object) -> Principal:
    fields: dict[str, object] = {
        "organization": "acme",
        "team": "search",
        "key": "SEARCHKEY001",
        "key_name": "search-prod",
        "tier": "normal",
    }
    return Principal(**(fields | changes))  # type: ignore[arg-type]


SEALED: Final = seal_credential(PROVIDER_KEY, credential_id="openai-main", credential_key=CREDENTIAL_KEY)
