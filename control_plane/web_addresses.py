"""What every URL that a person enters must be, whatever it is for: the one place that judges them."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError


def checked_parts(url: str, *, what: str, form: str) -> SplitResult:
    """Take an absolute http(s) URL of a host apart, one that cannot hide another target.

    `what` begins the messages, such as "A base URL"; `form` says how such a URL looks.

    Raises:
        ValidationError: saying what to change.
    """
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \\"):
        raise ValidationError(f"{what} has only printable ASCII characters, no blanks and no backslash.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValidationError(f"Not a URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValidationError(f"{what} is absolute: {form}.")
    return parts
