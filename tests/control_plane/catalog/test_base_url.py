"""Which addresses a provider may have."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from control_plane.catalog.validators import validate_base_url, validate_token_endpoint


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://127.0.0.1:9100/v1",
        "http://[::1]:9100",
        "https://example.openai.azure.com/openai/v1/",
        "https://host.example/a%20b/v1",
        "https://example.openai.azure.com/openai/deployments/{model}?api-version=2024-10-21",
        "https://{region}-aiplatform.googleapis.com/v1/projects/acme/locations/{region}/publishers/google",
    ],
)
def test_an_absolute_http_address_is_taken(url: str) -> None:
    validate_base_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "//api.openai.com/v1",
        "ftp://api.openai.com",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///v1",
        "https://:443/v1",
        "https://user@api.openai.com/v1",
        "https://user:secret@api.openai.com/v1",
        "https://good.example\\@evil.example/v1",
        "https://api.openai.com/v1?key=1",
        "https://api.openai.com/v1?api-version=1&API-KEY=1",
        "https://{model}.example/v1",
        "https://api.openai.com/{account}/v1",
        "https://api.openai.com/v1}",
        "https://api.openai.com/v1?",
        "https://api.openai.com/v1#x",
        "https://api.openai.com/../v1",
        "https://api.openai.com/v1/./x",
        "https://api.openai.com:99999/v1",
        "https://api.openai.com:0/v1",
        "https://api.openai.com:x/v1",
        "https://[::1/v1",
        "https://api.openai.com/v1 ",
        "https://api.openai.com/v1\r\nhost: evil.example",
        "https://äpi.example/v1",
    ],
)
def test_anything_that_could_lead_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        validate_base_url(url)


def test_a_token_endpoint_has_the_rules_of_a_provider_and_no_query() -> None:
    validate_token_endpoint("https://oauth2.googleapis.com/token")

    for url in ("ftp://host/token", "https://user@host/token", "https://host/../token", "https://host/token?x=1"):
        with pytest.raises(ValidationError, match="The address of a token endpoint"):
            validate_token_endpoint(url)
