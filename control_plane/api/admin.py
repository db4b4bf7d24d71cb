"""API tokens in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse

from control_plane.administration import SecretAdmin, SecretForm, confirmed_action, label_column, leave_dialog
from control_plane.api.models import ApiToken
from control_plane.api.services import issue_token, revoke_token


class TokenForm(SecretForm[ApiToken]):
    fixed = ("organization", "user", "name")

    class Meta:
        model = ApiToken
        fields = ("organization", "user", "name")


@admin.register(ApiToken)
class ApiTokenAdmin(SecretAdmin[ApiToken]):
    form = TokenForm
    secret_help = "A program calls the REST API with it, as Authorization: Token …"
    list_display = ("name", "user", "organization", "state", "created_at")
    readonly_fields = ("state", "created_at")
    actions_detail = ("revoke",)
    add_fieldsets = ((None, {"fields": ("organization", "user", "name")}),)

    @label_column("State", {"active": "success", "revoked": "danger"})
    def state(self, token: ApiToken) -> str:
        return "active" if token.revoked_at is None else "revoked"

    def create(self, form: TokenForm, user: Any) -> ApiToken:
        fields = form.cleaned_data
        token, form.secret = issue_token(
            user_id=fields["user"].pk, organization_id=fields["organization"].pk, name=fields["name"]
        )
        return token

    def change(self, row: ApiToken, form: TokenForm, actor: str) -> ApiToken:
        return row

    @confirmed_action(title="Revoke", description="Programs that use the token are refused. This cannot be undone.")
    def revoke(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        token = revoke_token(int(object_id))
        messages.success(request, f"{token} is revoked.")
        return leave_dialog(self.page_of(object_id))
