"""How people come in, read from the environment: the organization's identity provider, passwords, two-factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from control_plane.environment import only_loopback
from kong_plugins.llm.settings import MissingSetting, secret_from

OIDC_PROVIDER: Final = "oidc"
SAML_PROVIDER: Final = "saml"
# The part of our own addresses that names the SAML provider.
SAML_SLUG: Final = "idp"


def local_login_from(environment: Mapping[str, str]) -> bool:
    """Whether people with a password of ours may come in with it: BURSAR_LOCAL_LOGIN is on or off."""
    value = environment.get("BURSAR_LOCAL_LOGIN", "on") or "on"
    if value not in ("on", "off"):
        raise MissingSetting(f"BURSAR_LOCAL_LOGIN must be on or off, not {value!r}")
    return value == "on"


def providers_from(environment: Mapping[str, str]) -> dict[str, Any]:
    """django-allauth's description of the identity providers that the environment names; empty for none."""
    providers: dict[str, Any] = {}
    if issuer := environment.get("BURSAR_OIDC_ISSUER"):
        providers["openid_connect"] = {"OAUTH_PKCE_ENABLED": True, "APPS": [_oidc(environment, issuer)]}
    if entity_id := environment.get("BURSAR_SAML_ENTITY_ID"):
        providers["saml"] = {"APPS": [_saml(environment, entity_id)]}
    return providers


def sign_in_origins_from(environment: Mapping[str, str]) -> list[str]:
    """Where the log-in page may send a person: the identity providers' own origins.

    Where an OIDC provider's log-in page is not at its issuer's origin, BURSAR_OIDC_LOGIN_ORIGIN names that.
    """
    oidc = environment.get("BURSAR_OIDC_LOGIN_ORIGIN") or environment.get("BURSAR_OIDC_ISSUER", "")
    addresses = [oidc, environment.get("BURSAR_SAML_LOGIN_URL", "")]
    return [_origin(address) for address in addresses if address]


def _oidc(environment: Mapping[str, str], issuer: str) -> dict[str, Any]:
    _require_https("BURSAR_OIDC_ISSUER", issuer)
    scopes = environment.get("BURSAR_OIDC_SCOPES", "openid profile email").split()
    return {
        "provider_id": OIDC_PROVIDER,
        "name": environment.get("BURSAR_OIDC_NAME") or "single sign-on",
        "client_id": _required(environment, "BURSAR_OIDC_CLIENT_ID"),
        "secret": secret_from(environment, "BURSAR_OIDC_CLIENT_SECRET"),
        "settings": {
            "server_url": issuer.removesuffix("/"),
            "oauth_pkce_enabled": True,
            "scope": scopes,
            "groups": environment.get("BURSAR_OIDC_GROUPS_CLAIM") or "groups",
        },
    }


def _saml(environment: Mapping[str, str], entity_id: str) -> dict[str, Any]:
    login_url = _required(environment, "BURSAR_SAML_LOGIN_URL")
    _require_https("BURSAR_SAML_LOGIN_URL", login_url)
    groups = environment.get("BURSAR_SAML_GROUPS_ATTRIBUTE") or "groups"
    return {
        "provider_id": SAML_PROVIDER,
        "name": environment.get("BURSAR_SAML_NAME") or "single sign-on",
        "client_id": SAML_SLUG,
        "settings": {
            "idp": {
                "entity_id": entity_id,
                "sso_url": login_url,
                "x509cert": secret_from(environment, "BURSAR_SAML_CERTIFICATE"),
            },
            "attribute_mapping": {
                "uid": environment.get("BURSAR_SAML_UID_ATTRIBUTE") or "uid",
                "email": environment.get("BURSAR_SAML_EMAIL_ATTRIBUTE") or "email",
                "email_verified": "email_verified",
                "first_name": "first_name",
                "last_name": "last_name",
                "groups": groups,
            },
            "groups": groups,
            "advanced": {
                "strict": True,
                "want_assertion_signed": True,
                "reject_idp_initiated_sso": True,
                "reject_deprecated_algorithm": True,
            },
        },
    }


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise MissingSetting(f"set {name} too: the identity provider is not complete without it")
    return value


def _require_https(name: str, url: str) -> None:
    """What comes from the provider is believed because TLS says whom it comes from."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    if parts.scheme != "https" and not (parts.scheme == "http" and host and only_loopback([host])):
        raise MissingSetting(f"{name} must be an https:// URL")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
