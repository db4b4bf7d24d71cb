"""API tokens in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from control_plane.administration import SecretAdmin, SecretForm, confirmed_action, label_column, leave_dialog
from control_plane.api.callers import SCOPES_IN_WORDS
from control_plane.api.models import ApiToken
from control_plane.api.services import Issuer, change_token, issue_token, revoke_token


class TokenForm(SecretForm[ApiToken]):
    fixed = ("organization", "user")

    scopes = forms.MultipleChoiceField(
        choices=[(name, f"{name}: {words}") for name, words in SCOPES_IN_WORDS.items()],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What of the user's rights the token is for; none chosen means all.",
    )

    class Meta:
        model = ApiToken
        fields = ("organization", "user", "name", "scopes", "expires_at")

    def clean_scopes(self) -> list[str] | None:
        return sorted(self.cleaned_data["scopes"]) or None


@admin.register(ApiToken)
class ApiTokenAdmin(SecretAdmin[ApiToken]):
    form = TokenForm
    secret_help = "A program calls the REST API with it, as Authorization: Token …"
    list_display = ("name", "user", "organization", "state", "scopes_text", "prefix", "expires_at", "last_used_at")
    list_filter = ("organization", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "prefix", "user__username")
    readonly_fields = ("state", "prefix", "last_used_at", "created_at")
    actions_detail = ("revoke",)
    add_fieldsets = ((None, {"fields": ("organization", "user", "name", "scopes", "expires_at")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        return super().get_queryset(request).select_related("user", "organization")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A token is for oneself, or for a service account."""
        if db_field.name == "user":
            users = get_user_model()._default_manager
            kwargs["queryset"] = users.filter(Q(pk=request.user.pk) | Q(is_service=True))
            kwargs["initial"] = request.user.pk
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @label_column("State", {"active": "success", "expired": "warning", "revoked": "danger"})
    def state(self, token: ApiToken) -> str:
        return token.state

    @admin.display(description="Scopes")
    def scopes_text(self, token: ApiToken) -> str:
        return "all" if token.scopes is None else ", ".join(token.scopes)

    def create(self, form: TokenForm, user: Any) -> ApiToken:
        fields = dict(form.cleaned_data)
        token, form.secret = issue_token(
            user_id=fields.pop("user").pk,
            organization_id=fields.pop("organization").pk,
            issuer=Issuer(user=user),
            **fields,
        )
        return token

    def change(self, row: ApiToken, form: TokenForm, actor: str) -> ApiToken:
        issuer = Issuer(user=get_user_model()._default_manager.get(username=actor))
        return change_token(row.pk, issuer=issuer, **form.changes)

    @confirmed_action(title="Revoke", description="Programs that use the token are refused. This cannot be undone.")
    def revoke(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        token = revoke_token(int(object_id))
        messages.success(request, f"{token} is revoked.")
        return leave_dialog(self.page_of(object_id))
