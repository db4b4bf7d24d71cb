"""How things may be called: slugs for what becomes part of a counter's name, printable text for the rest."""

from __future__ import annotations

from typing import Final

from django.core.validators import RegexValidator

SLUG_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"
MODEL_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}\Z"
TEXT_PATTERN: Final = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?\Z"

validate_slug = RegexValidator(
    SLUG_PATTERN, "Use lower-case letters, digits and hyphens, with a letter or digit at both ends; at most 63."
)
validate_model_name = RegexValidator(MODEL_NAME_PATTERN, "Use letters, digits and . _ : / @ + -; at most 128.")
validate_text = RegexValidator(TEXT_PATTERN, "Use printable characters, without blanks at the ends.")
