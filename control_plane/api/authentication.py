"""Who calls the REST API: `Authorization: Token <token>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from control_plane.api.models import ApiToken
from control_plane.api.selectors import active_token

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


class TokenAuthentication(BaseAuthentication):
    """Sets `request.user` to the token's user and `request.auth` to the token, which names the organization."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiToken] | None:
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != b"token":
            return None
        if len(words) != 2:
            raise AuthenticationFailed("Write the header as: Authorization: Token <token>")
        token = active_token(words[1].decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("The API token is not known, or was revoked.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Token"
