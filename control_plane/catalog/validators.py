"""Where a provider may live: the one place that judges a base URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError


def validate_base_url(url: str) -> None:
    """Accept an absolute http(s) URL of a host, maybe with port and path; nothing that could hide another target.

    Raises:
        ValidationError: saying what to change.
    """
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \\"):
        raise ValidationError("A base URL has only printable ASCII characters, no blanks and no backslash.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValidationError(f"Not a URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValidationError("A base URL is absolute: https://host/v1, or http:// for a provider of your own.")
    if "@" in parts.netloc:
        raise ValidationError("A base URL has no user name or password; the credential is a field of its own.")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValidationError("A base URL has no query and no fragment.")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise ValidationError("A base URL's path has no . or .. in it.")
