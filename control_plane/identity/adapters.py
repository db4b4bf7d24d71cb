"""Where django-allauth asks us: who may come in, whom a provider's person is here, and how two-factor secrets are kept.

Whom the identity provider sends is matched by the provider's own id of them. At the first time that is tied to the
person here who has the same e-mail address, if the provider says that the address is verified; never otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from control_plane.audit.context import Acting, acting_as
from control_plane.identity.arrivals import Arrival, Refused, welcome
from control_plane.releases.rotation import TWO_FACTOR
from kong_plugins.llm.credentials import open_credential, seal_credential

if TYPE_CHECKING:
    from allauth.socialaccount.models import SocialLogin

    from control_plane.teams.models import User


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Log-in with a password of ours."""

    def get_client_ip(self, request: HttpRequest) -> str:
        """Whose failures are counted: `protection.known_client` has found out already."""
        address: str = request.META.get("REMOTE_ADDR", "")
        return address or "unknown"

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody makes an account for themselves."""
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        if not settings.LOCAL_LOGIN:
            raise ValidationError("Log in by single sign-on: passwords are switched off here.")
        super().pre_authenticate(request, **credentials)

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse | None:
        if user.is_service:
            raise PermissionDenied("A service account does not log in.")
        found: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return found

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Nothing: nobody confirms an address or resets a password by mail."""

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("admin:index")


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Log-in through the organization's identity provider."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Bring the person's roles in line with their groups and let them in; or say why not."""
        try:
            user = welcome(_arrival_of(sociallogin), address=request.META.get("REMOTE_ADDR", ""))
        except Refused as refused:
            page = render(request, "account/refused.html", {"reason": str(refused)}, status=403)
            raise ImmediateHttpResponse(page) from refused
        if not sociallogin.is_existing:
            # As allauth reads it back, should the person be asked for a second factor.
            with acting_as(lambda: _as_themselves(request, user)):
                sociallogin.connect(request, user)
        sociallogin.user = user

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """`pre_social_login` has made the person already, or refused."""
        return False


class TwoFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets of authenticator apps are kept as providers' credentials are: sealed."""

    def encrypt(self, text: str) -> str:
        return seal_credential(text, credential_id=TWO_FACTOR, credential_key=settings.CREDENTIAL_KEY)

    def decrypt(self, encrypted_text: str) -> str:
        return open_credential(encrypted_text, credential_id=TWO_FACTOR, credential_key=settings.CREDENTIAL_KEY)


def _as_themselves(request: HttpRequest, user: User) -> Acting:
    """Of whom the log says that they have tied their account to the provider's: nobody is logged in yet."""
    return Acting(
        actor=user.get_username(),
        actor_id=str(user.pk),
        way="web",
        address=request.META.get("REMOTE_ADDR", ""),
        request_id=request.META.get("HTTP_X_REQUEST_ID", ""),
    )


def _arrival_of(sociallogin: SocialLogin) -> Arrival:
    """What the provider says of somebody.

    Raises:
        Refused: it says two things.
    """
    account, app, user = sociallogin.account, sociallogin.provider.app, sociallogin.user
    said = claims = account.extra_data
    if app.provider == "openid_connect":
        said, claims = _said_by_oidc(said), {**said.get("id_token", {}), **said.get("userinfo", {})}
    return Arrival(
        known=user if sociallogin.is_existing else None,
        external_id=account.uid,
        username=user.username,
        email=user.email,
        email_is_verified=_is_true(said.get("email_verified")),
        first_name=user.first_name,
        last_name=user.last_name,
        groups=_texts(claims.get(app.settings["groups"])),
    )


def _said_by_oidc(data: Any) -> Any:
    """The claims of which allauth takes the person: the endpoint's, else the token's; both must be of one person.

    https://openid.net/specs/openid-connect-core-1_0.html#UserInfoResponse asks for that.
    """
    token, endpoint = data.get("id_token", {}), data.get("userinfo", {})
    if token and endpoint and token.get("sub") != endpoint.get("sub"):
        raise Refused("The identity provider has spoken of two people at once. Ask who administers it.")
    return endpoint or token


def _is_true(claim: Any) -> bool:
    """Providers write it as a truth value, as a text, or as a list of one text; all else is no."""
    value = claim[0] if isinstance(claim, list) and len(claim) == 1 else claim
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _texts(claim: Any) -> frozenset[str]:
    """A claim that is a list of texts, or one text."""
    values = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(value for value in values if isinstance(value, str))
