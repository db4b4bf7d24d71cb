"""Where a provider may live, and where its access tokens may come from."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qsl

from django.core.exceptions import ValidationError

from control_plane.web_addresses import checked_parts

_PLACEHOLDERS: Final = ("{model}", "{region}")
# Parameters by which providers take credentials, in lower case.
_SECRET_PARAMETERS: Final = frozenset(
    {"key", "api-key", "api_key", "apikey", "subscription-key", "access_token", "token", "sig", "signature"}
)


def validate_base_url(url: str) -> None:
    """Accept an absolute http(s) URL of a host, maybe with port, path and query, in which `{model}` and `{region}` may
    stand; nothing that could hide another target or show a credential.

    Raises:
        ValidationError: saying what to change.
    """
    plain = url
    for placeholder in _PLACEHOLDERS:
        plain = plain.replace(placeholder, "x")
    if "{" in plain or "}" in plain:
        raise ValidationError("A base URL has no braces but those of {model} and {region}.")
    parts = _checked(plain, what="A base URL", form="https://host/v1, or http:// for a provider of your own")
    if "{model}" in url.split("/", 3)[2]:
        raise ValidationError("{model} stands in the path of a base URL, never in its host.")
    if any(name.lower() in _SECRET_PARAMETERS for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValidationError("A base URL's query has no credential in it; the credential is a field of its own.")
    if url.endswith("?"):
        raise ValidationError("A base URL does not end in a question mark.")


def validate_token_endpoint(url: str) -> None:
    """Accept the address of a token endpoint under the rules for a provider's, and without a query.

    Raises:
        ValidationError: saying what to change.
    """
    what = "The address of a token endpoint"
    if _checked(url, what=what, form="https://host/token").query:
        raise ValidationError(f"{what} has no query.")


def _checked(url: str, *, what: str, form: str) -> SplitResult:
    parts = checked_parts(url, what=what, form=form)
    if "@" in parts.netloc:
        raise ValidationError(f"{what} has no user name or password; the credential is a field of its own.")
    if parts.fragment or url.endswith("#"):
        raise ValidationError(f"{what} has no fragment.")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise ValidationError(f"{what}'s path has no . or .. in it.")
    return parts
