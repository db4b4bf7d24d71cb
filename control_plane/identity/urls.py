"""How people come in: log-in, two-factor, and what identity providers answer to; all beside the admin's pages."""

from __future__ import annotations

from allauth.account import views as account
from allauth.socialaccount import views as socialaccount
from django.urls import include, path

from control_plane.identity.views import BreakGlassView

urlpatterns = [
    path("login/", account.login, name="account_login"),
    path("log-out/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("break-glass/<int:user_id>/<str:token>/", BreakGlassView.as_view(), name="break_glass"),
    path("two-factor/", include("allauth.mfa.urls")),
    path("sso/cancelled/", socialaccount.login_cancelled, name="socialaccount_login_cancelled"),
    path("sso/error/", socialaccount.login_error, name="socialaccount_login_error"),
    path("sso/", include("allauth.socialaccount.providers.saml.urls")),
    path("sso/", include("allauth.socialaccount.providers.openid_connect.urls")),
]
