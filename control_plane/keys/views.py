"""Virtual keys over the REST API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError as ModelValidationError
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.views import OrganizationViewSet
from control_plane.keys import services
from control_plane.keys.models import VirtualKey
from control_plane.keys.selectors import shown_key, with_use
from control_plane.keys.serializers import (
    ChosenKeysSerializer,
    KeyRotationSerializer,
    KeySerializer,
    RevokedKeysSerializer,
)
from control_plane.rights.scope import changeable

_FLAGS: Final = {"true": True, "false": False}


class KeyViewSet(OrganizationViewSet[VirtualKey]):
    scope = "keys"
    queryset = with_use(VirtualKey.objects.select_related("team__organization"))
    serializer_class = KeySerializer
    organization_path = "team__organization"
    filters = {
        "name": "name",
        "team": "team__slug",
        "application": "application",
        "state": "state_now",
        "rotation_due": "is_rotation_due",
        "expires_soon": "is_expiring",
        "unused_for_days": "idle_since__lte",
    }

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the key's use, by its former secret too; its next request is refused."""
        key_id = self.get_object().pk
        services.revoke_key(key_id, actor=self.actor)
        return self._shown(key_id)

    @extend_schema(request=KeyRotationSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give the key a new secret, which is in this answer and nowhere else; the former one goes on for a while."""
        key_id = self.get_object().pk
        asked = KeyRotationSerializer(data=request.data or {}, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        grace = timedelta(hours=asked.validated_data["grace_hours"])
        try:
            _, full_key = services.rotate_key(key_id, actor=self.actor, grace=grace)
        except ModelValidationError as error:
            raise ValidationError({"non_field_errors": error.messages}) from error
        return self._shown(key_id, full_key)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="end-grace")
    def end_grace(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the use of the key's former secret; its next request is refused."""
        key_id = self.get_object().pk
        services.end_grace(key_id, actor=self.actor)
        return self._shown(key_id)

    @extend_schema(operation_id="keys_revoke_many", request=ChosenKeysSerializer, responses=RevokedKeysSerializer)
    @action(detail=False, methods=["post"], url_path="revoke", url_name="revoke-many")
    def revoke_many(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the use of all these keys, or of none if one of them is not the caller's to revoke."""
        asked = ChosenKeysSerializer(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        ids = set(asked.validated_data["ids"])
        found = set(changeable(self.get_queryset().filter(pk__in=ids), self.person).values_list("pk", flat=True))
        if others := sorted(ids - found):
            raise ValidationError({"ids": f"There is no such key that you may revoke: {', '.join(others)}."})
        return Response({"revoked": services.revoke_keys(found, actor=self.actor)})

    def _shown(self, key_id: str, full_key: str | None = None) -> Response:
        serializer = KeySerializer(shown_key(key_id), context=self.get_serializer_context())
        serializer.full_key = full_key
        return Response(serializer.data)

    def _chosen(self) -> dict[str, Any]:
        chosen: dict[str, Any] = dict(super()._chosen())
        for name in ("rotation_due", "expires_soon"):
            if (path := self.filters[name]) in chosen:
                if chosen[path] not in _FLAGS:
                    raise ValidationError({name: "Say true or false."})
                chosen[path] = _FLAGS[chosen[path]]
        if (path := self.filters["unused_for_days"]) in chosen:
            days = chosen[path]
            if not (days.isascii() and days.isdecimal() and len(days) <= 4):
                raise ValidationError({"unused_for_days": "Give a number of days, such as 30."})
            chosen[path] = timezone.now() - timedelta(days=int(days))
        return chosen
