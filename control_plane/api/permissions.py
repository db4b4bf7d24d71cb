"""What a caller has brought along: an address is open to tokens with its scope only."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from control_plane.api.callers import Scope, caller_of


class HasScope(BasePermission):
    """Rights are the rows' matter; this only narrows them to what the token is for."""

    def has_permission(self, request: Request, view: Any) -> bool:
        scope: Scope = view.scope
        self.message = f"The API token has not the scope {scope}."
        return caller_of(request).may(scope, reads=request.method in SAFE_METHODS)
