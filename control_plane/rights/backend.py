"""Django's own questions about permissions, answered by the rights: what the admin shows at all."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth.backends import ModelBackend
from django.db.models import Model

from control_plane.rights.person import person_of
from control_plane.rights.rules import RULES, Action
from control_plane.rights.scope import may, may_with

_ACTIONS: tuple[Action, ...] = ("view", "add", "change", "delete")


class RightsBackend(ModelBackend):
    """Passwords as Django keeps them; permissions from memberships, never from tables of permissions."""

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and not user.is_service

    def has_perm(self, user_obj: Any, perm: str, obj: Model | None = None) -> bool:
        app_label, _, codename = perm.partition(".")
        action, _, model_name = codename.partition("_")
        if action not in _ACTIONS or f"{app_label}.{model_name}" not in RULES:
            return False
        person = person_of(user_obj)
        if obj is not None:
            return may_with(person, action, obj)
        return may(person, action, apps.get_model(app_label, model_name))

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        person = person_of(user_obj)
        models = [apps.get_model(label) for label in RULES if label.startswith(f"{app_label}.")]
        return any(may(person, "view", model) for model in models)

    def get_all_permissions(self, user_obj: Any, obj: Model | None = None) -> set[str]:
        person = person_of(user_obj)
        return {
            f"{label.partition('.')[0]}.{action}_{label.partition('.')[2]}"
            for label in RULES
            for action in _ACTIONS
            if may(person, action, apps.get_model(label))
        }
