"""Where a webhook may point."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from control_plane.web_addresses import checked_parts


def validate_webhook_url(url: str) -> None:
    """Accept an absolute http(s) URL of a host; nothing that could hide another target.

    Raises:
        ValidationError: saying what to change.
    """
    parts = checked_parts(url, what="A webhook's URL", form="https://host/path")
    if "@" in parts.netloc or parts.fragment or url.endswith("#"):
        raise ValidationError("A webhook's URL has no user name, no password and no fragment.")
