"""Where a provider may live."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from control_plane.web_addresses import checked_parts


def validate_base_url(url: str) -> None:
    """Accept an absolute http(s) URL of a host, maybe with port and path; nothing that could hide another target.

    Raises:
        ValidationError: saying what to change.
    """
    parts = checked_parts(url, what="A base URL", form="https://host/v1, or http:// for a provider of your own")
    if "@" in parts.netloc:
        raise ValidationError("A base URL has no user name or password; the credential is a field of its own.")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValidationError("A base URL has no query and no fragment.")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise ValidationError("A base URL's path has no . or .. in it.")
