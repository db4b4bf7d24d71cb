"""Who calls the REST API: a program with `Authorization: Token <token>`, or a person who is logged into the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from rest_framework import authentication
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, ValidationError
from rest_framework.request import Request

from control_plane.api.callers import Caller
from control_plane.api.selectors import active_token, organizations_of
from control_plane.api.services import note_use

if TYPE_CHECKING:
    from control_plane.teams.models import Organization, User

ORGANIZATION_HEADER: Final = "X-Bursar-Organization"


class TokenAuthentication(BaseAuthentication):
    """Sets `request.user` to the token's user and `request.auth` to the caller, in the token's organization."""

    keyword: ClassVar[str] = "Token"

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != self.keyword.lower().encode():
            return None
        if len(words) != 2:
            raise AuthenticationFailed(f"Write the header as: Authorization: {self.keyword} <token>")
        token = active_token(words[1].decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("The API token is not known, has expired, or was revoked.")
        if request.headers.get(ORGANIZATION_HEADER, token.organization.slug) != token.organization.slug:
            raise PermissionDenied("The API token is of another organization.")
        note_use(token)
        return token.user, Caller(user=token.user, organization=token.organization, token=token)

    def authenticate_header(self, request: Request) -> str:
        return self.keyword


class SessionAuthentication(authentication.SessionAuthentication):
    """A person with a session in the admin; what changes something must bring the session's CSRF token.

    Who has several organizations says which one is meant in the header X-Bursar-Organization.
    """

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user: User = found[0]
        return user, Caller(user=user, organization=_chosen(request, organizations_of(user)))


def _chosen(request: Request, organizations: list[Organization]) -> Organization:
    named = request.headers.get(ORGANIZATION_HEADER)
    chosen = [row for row in organizations if named in (None, row.slug)]
    if len(chosen) == 1:
        return chosen[0]
    if named is None and chosen:
        slugs = ", ".join(row.slug for row in chosen)
        raise ValidationError({ORGANIZATION_HEADER: f"Say which organization is meant: {slugs}."})
    raise PermissionDenied("You have no role in such an organization.")
