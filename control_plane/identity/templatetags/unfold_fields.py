"""Fields of django-allauth's forms in the admin's look."""

from __future__ import annotations

from typing import Any

from django import template
from unfold.widgets import INPUT_CLASSES

register = template.Library()


@register.filter
def in_unfold(field: Any) -> Any:
    """The field, its input styled as the admin's are."""
    if getattr(field.field.widget, "input_type", "") not in ("checkbox", "radio", "hidden"):
        field.field.widget.attrs["class"] = input_classes()
    return field


@register.simple_tag
def input_classes() -> str:
    """The classes of an input of the admin."""
    return " ".join(INPUT_CLASSES)
