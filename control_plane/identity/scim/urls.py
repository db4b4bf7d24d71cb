"""SCIM's addresses, below /scim/v2/."""

from __future__ import annotations

from typing import Any, Final

from django.urls import path, re_path

from control_plane.identity.scim.discovery import (
    ConfigurationView,
    NoSuchAddressView,
    ResourceTypesView,
    SchemasView,
)
from control_plane.identity.scim.views import GroupsView, UsersView

_ALL: Final[dict[str, Any]] = {"get": "list", "post": "create"}
_ONE: Final[dict[str, Any]] = {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}

urlpatterns = [
    path("ServiceProviderConfig", ConfigurationView.as_view()),
    path("ResourceTypes", ResourceTypesView.as_view()),
    path("ResourceTypes/<str:resource>", ResourceTypesView.as_view()),
    path("Schemas", SchemasView.as_view()),
    path("Schemas/<str:resource>", SchemasView.as_view()),
    path("Users", UsersView.as_view(_ALL)),
    path("Users/<str:pk>", UsersView.as_view(_ONE)),
    path("Groups", GroupsView.as_view(_ALL)),
    path("Groups/<str:pk>", GroupsView.as_view(_ONE)),
    re_path("^", NoSuchAddressView.as_view()),
]
