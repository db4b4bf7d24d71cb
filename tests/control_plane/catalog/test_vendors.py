"""What a provider's vendor decides: addresses, formats, credentials, and what gateways read of them."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.test import Client

from control_plane.catalog.models import Provider
from control_plane.catalog.vendors import CREDENTIAL_TITLES
from control_plane.releases.models import Release
from kong_plugins.llm.credentials import open_credential
from kong_plugins.llm.release import Deployment
from kong_plugins.llm.vendors import CREDENTIAL_KINDS
from tests.control_plane.cast import Api, post, shown_errors
from tests.llm.token_endpoint import entra_client, pem, service_account

AWS: Final = {"access_key_id": "AKIDEXAMPLE000000", "secret_access_key": "aws/secret+key="}
ENTRA: Final = json.loads(entra_client("https://login.microsoftonline.com"))
GOOGLE: Final = json.loads(service_account("https://oauth2.googleapis.com/token"))
AZURE: Final = {"vendor": "azure", "base_url": "https://h/v1", "authentication": "entra_client"}
VERTEX: Final = {"vendor": "vertex", "base_url": "https://h/v1"}


def deployed(api: Api, provider: dict[str, Any], **fields: Any) -> Deployment:
    """What gateways read of a deployment at a provider with these fields."""
    api.model()
    api.create("providers", **({"name": "p"} | provider))
    api.create(
        "deployments", **({"model": "gpt-4o-mini", "provider": "p", "provider_model": "m", "price": None} | fields)
    )
    [deployment] = api.policy().deployments
    return deployment


def opened(api: Api) -> str:
    """The secret of the only provider, as a gateway opens it."""
    [(name, sealed)] = api.policy().credentials.items()
    return open_credential(sealed, credential_id=name, credential_key=settings.CREDENTIAL_KEY)


@pytest.mark.parametrize(
    ("provider", "fields", "address", "authentication"),
    [
        ({"vendor": "openai"}, {}, "https://api.openai.com/v1", "bearer"),
        (
            {
                "vendor": "azure",
                "base_url": "https://acme.openai.azure.com/openai/deployments/{model}?api-version=2024-10-21",
            },
            {},
            "https://acme.openai.azure.com/openai/deployments/{model}?api-version=2024-10-21",
            "api-key",
        ),
        (
            {"vendor": "anthropic"},
            {"protocol": "anthropic_messages"},
            "https://api.anthropic.com/v1",
            "x-api-key",
        ),
        ({"vendor": "anthropic"}, {}, "https://api.anthropic.com/v1", "bearer"),
        (
            {"vendor": "bedrock", "authentication": "api_key"},
            {"region": "eu-central-1"},
            "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1",
            "bearer",
        ),
        (
            {"vendor": "openai", "base_url": "https://eu.api.openai.com/v1"},
            {},
            "https://eu.api.openai.com/v1",
            "bearer",
        ),
        ({"base_url": "https://llm.acme.example/v1"}, {}, "https://llm.acme.example/v1", None),
    ],
    ids=["openai", "azure", "messages", "chat-at-anthropic", "bedrock", "own-host", "custom"],
)
def test_address_and_authentication_follow_from_vendor_and_format(
    api: Api, provider: dict[str, Any], fields: dict[str, Any], address: str, authentication: str | None
) -> None:
    deployment = deployed(api, {"credential": "sk-provider"} | provider, **fields)

    assert (deployment.base_url, deployment.authentication) == (address, authentication)
    assert deployment.vendor == provider.get("vendor", "custom")
    assert opened(api) == "sk-provider"


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        ({"vendor": "bedrock", "credential": AWS}, {"region": "eu-central-1"}),
        (
            {"vendor": "azure", "authentication": "entra_client", "credential": ENTRA}
            | {"base_url": "https://acme.openai.azure.com/openai/v1"},
            {},
        ),
        (
            {"vendor": "vertex", "credential": GOOGLE}
            | {
                "base_url": "https://{region}-aiplatform.googleapis.com/v1/projects/p/locations/{region}/endpoints/openapi"
            },
            {"region": "europe-west4"},
        ),
        ({"vendor": "ollama"}, {}),
    ],
    ids=["aws", "entra", "google", "none"],
)
def test_credentials_of_several_fields_are_kept_as_far_as_gateways_need_them(
    api: Api, provider: dict[str, Any], fields: dict[str, Any]
) -> None:
    deployment = deployed(api, provider, **fields)

    row = Provider.objects.get()
    assert deployment.authentication == row.authentication
    secret = opened(api)
    given = provider.get("credential", {})
    kept = {name: value for name, value in json.loads(secret or "{}").items() if name in given}
    assert kept.items() <= given.items()
    assert "project_id" not in secret
    answer = api.get("providers/p")
    assert "credential" not in answer
    assert not any(
        str(value) in json.dumps(answer) for name, value in given.items() if "secret" in name or "key" in name
    )


@pytest.mark.parametrize(
    ("provider", "field", "complaint"),
    [
        ({"vendor": "nobody"}, "vendor", "not a valid choice"),
        ({"vendor": "openai", "authentication": "aws_sigv4"}, "authentication", "OpenAI takes another kind"),
        ({}, "base_url", "at an address of your own"),
        ({"vendor": "azure"}, "base_url", "such as https://NAME.openai.azure.com/openai/v1 or "),
        ({"vendor": "openai", "credential": ""}, "credential", "printable ASCII"),
        ({"vendor": "ollama", "credential": "sk"}, "credential", "takes no credential has none"),
        ({"vendor": "bedrock", "credential": "AKID"}, "credential", "The credential is JSON, {"),
        ({"vendor": "bedrock", "credential": AWS | {"region": "x"}}, "credential", "unknown field `region`"),
        ({"vendor": "bedrock", "credential": AWS | {"access_key_id": "x"}}, "credential", "access_key_id has 16"),
        (
            {"vendor": "bedrock", "credential": AWS | {"session_token": "a b"}},
            "credential",
            "session_token is printable",
        ),
        (VERTEX | {"credential": GOOGLE | {"private_key": pem()[:99]}}, "credential", "no key in PEM"),
        (VERTEX | {"credential": GOOGLE | {"type": "user"}}, "credential", "key file that Google"),
        (VERTEX | {"credential": GOOGLE | {"token_uri": "ftp://h"}}, "credential", "token endpoint is absolute"),
        (AZURE | {"credential": ENTRA | {"tenant_id": "../x"}}, "credential", "tenant_id"),
        (AZURE | {"credential": ENTRA | {"client_secret": ""}}, "credential", "client_secret"),
        (AZURE | {"credential": ENTRA | {"authority": "https://u:p@h"}}, "credential", "no user name"),
        (AZURE | {"credential": ENTRA | {"authority": "https://h?a"}}, "credential", "has no query"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field_and_never_repeated(
    api: Api, provider: dict[str, Any], field: str, complaint: str
) -> None:
    answer = api.call("POST", "providers", {"name": "p", "credential": "sk-provider"} | provider)

    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert complaint in error["message"]
    for secret in ("aws/secret", "s3cret", "PRIVATE KEY", "sk-provider"):
        assert secret not in answer.content.decode()


@pytest.mark.parametrize(
    ("provider", "fields", "field", "complaint"),
    [
        (
            {"vendor": "anthropic", "credential": "k"},
            {"protocol": "gemini"},
            "protocol",
            "does not speak this wire format, but",
        ),
        (
            {"vendor": "bedrock", "credential": AWS},
            {},
            "region",
            "Amazon Bedrock needs the region, such as eu-central-1",
        ),
        ({"vendor": "bedrock", "credential": AWS, "base_url": "https://h/v1"}, {}, "region", "needs the region"),
    ],
)
def test_a_deployment_is_one_that_its_vendor_serves(
    api: Api, provider: dict[str, Any], fields: dict[str, Any], field: str, complaint: str
) -> None:
    api.model()
    api.create("providers", name="p", **provider)

    answer = api.call(
        "POST",
        "deployments",
        {"model": "gpt-4o-mini", "provider": "p", "provider_model": "m", "price": None} | fields,
    )

    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert complaint in error["message"]


def test_a_provider_keeps_to_a_vendor_that_serves_its_deployments(api: Api) -> None:
    api.deployment()

    answer = api.call("PATCH", "providers/openai", {"vendor": "bedrock", "authentication": "api_key", "base_url": ""})

    [error] = answer.json()["errors"]
    assert "gpt-4o-mini at openai: Amazon Bedrock needs the region" in error["message"]
    assert api.change("providers/openai", vendor="openai", base_url="")["vendor"] == "openai"
    assert api.policy().deployments[0].base_url == "https://api.openai.com/v1"


def test_a_credential_of_another_kind_comes_with_the_kind(api: Api) -> None:
    api.create("providers", name="p", vendor="vllm", base_url="http://127.0.0.1:8000/v1")
    assert opened(api) == ""

    assert api.refused_fields("PATCH", "providers/p", {"authentication": "api_key"}) == {"credential"}
    api.change("providers/p", authentication="api_key", credential="sk-proxy")
    assert opened(api) == "sk-proxy"
    api.change("providers/p", authentication="none")
    assert opened(api) == ""


def test_a_provider_is_made_and_changed_in_the_admin(api: Api, pages: Client) -> None:
    path, organization = "/admin/catalog/provider/add/", str(api.organization.pk)
    fields = {
        "organization": organization,
        "name": "p",
        "vendor": "bedrock",
        "base_url": "",
        "authentication": "aws_sigv4",
    }

    assert "The credential is JSON" in shown_errors(pages, path, fields | {"credential": "AKID"})
    assert "The credential is JSON" in shown_errors(pages, path, fields)
    assert "another kind of credential" in shown_errors(pages, path, fields | {"authentication": "none"})
    post(pages, path, fields | {"credential": json.dumps(AWS, indent=2)})
    assert json.loads(opened(api)) == AWS | {"session_token": None}

    change = f"/admin/catalog/provider/{Provider.objects.get().pk}/change/"
    page = post(pages, change, fields | {"base_url": "https://vpce.example", "credential": ""})
    assert "aws/secret" not in page
    assert Provider.objects.get().base_url == "https://vpce.example"
    assert json.loads(opened(api))["access_key_id"] == AWS["access_key_id"]
    for kept in (LogEntry, Release, Provider):
        assert "aws/secret" not in str(list(kept.objects.values()))


def test_every_kind_of_credential_has_a_title() -> None:
    assert set(CREDENTIAL_TITLES) == set(CREDENTIAL_KINDS)
