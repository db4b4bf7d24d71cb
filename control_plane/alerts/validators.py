"""Where a webhook may point."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError


def validate_webhook_url(url: str) -> None:
    """Accept an absolute http(s) URL of a host; nothing that could hide another target.

    Raises:
        ValidationError: saying what to change.
    """
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \\"):
        raise ValidationError("A webhook's URL has only printable ASCII characters, no blanks and no backslash.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValidationError(f"Not a URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValidationError("A webhook's URL is absolute: https://host/path.")
    if "@" in parts.netloc or parts.fragment or url.endswith("#"):
        raise ValidationError("A webhook's URL has no user name, no password and no fragment.")
