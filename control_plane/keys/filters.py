"""What the admin's list of virtual keys can be narrowed down to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.admin import SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone


class StateFilter(SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Active"), ("grace", "With a former secret"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "grace":
            return queryset.filter(revoked_at=None, former_until__gt=timezone.now())
        return queryset.filter(state_now=self.value()) if self.value() else queryset


class DueFilter(SimpleListFilter):
    title = "due"
    parameter_name = "due"
    _chosen: ClassVar = {"rotation": Q(is_rotation_due=True), "expiry": Q(is_expiring=True)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("rotation", "Rotation due"), ("expiry", "Expires within 7 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self._chosen.get(self.value() or "", Q()))


class UnusedFilter(SimpleListFilter):
    title = "use"
    parameter_name = "unused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("30", "Unused for 30 days"), ("90", "Unused for 90 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("30", "90"):
            return queryset
        return queryset.filter(idle_since__lte=timezone.now() - timedelta(days=int(self.value() or 0)))
