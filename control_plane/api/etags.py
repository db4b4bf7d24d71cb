"""Which version of a row an editor has seen: the ETag of an answer, and If-Match of the change that follows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.utils.http import parse_etags
from rest_framework.exceptions import ValidationError
from rest_framework.utils.encoders import JSONEncoder


def etag_of(shown: Mapping[str, Any], *, without: frozenset[str]) -> str:
    """The ETag of a row as the API shows it, but for the fields that change by themselves."""
    content = {name: value for name, value in shown.items() if name not in without}
    text = json.dumps(content, sort_keys=True, cls=JSONEncoder)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def wanted_etags(header: str) -> list[str]:
    """What If-Match names: ETags, or `*` for whatever there is.

    Raises:
        ValidationError: for the header.
    """
    found = parse_etags(header)
    if not found:
        raise ValidationError({"If-Match": 'Give the ETag of the answer that you have read, with its quotes, or "*".'})
    return found
