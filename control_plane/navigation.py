"""The admin's side bar."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def _entry(title: str, icon: str, view: str) -> dict[str, Any]:
    """An entry; one that leads to a list is shown to those who may see rows of its kind."""
    entry: dict[str, Any] = {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{view}")}
    app_label, *model = view.removesuffix("_changelist").split("_")
    return entry | ({"permission": partial(_sees, f"{app_label}.view_{model[0]}")} if model else {})


def _sees(permission: str, request: HttpRequest) -> bool:
    user: Any = request.user
    sees: bool = user.has_perm(permission)
    return sees


NAVIGATION: list[dict[str, Any]] = [
    {"items": [_entry("Overview", "monitoring", "index")]},
    {
        "title": "Who",
        "separator": True,
        "items": [
            _entry("Teams", "groups", "teams_team_changelist"),
            _entry("Departments", "corporate_fare", "teams_department_changelist"),
            _entry("Roles", "badge", "teams_membership_changelist"),
            _entry("Virtual keys", "key", "keys_virtualkey_changelist"),
        ],
    },
    {
        "title": "How much",
        "separator": True,
        "items": [
            _entry("Budgets", "savings", "budgets_budget_changelist"),
            _entry("Extensions", "more_time", "budgets_extension_changelist"),
            _entry("Extension requests", "front_hand", "budgets_extensionrequest_changelist"),
            _entry("Limits", "speed", "budgets_limit_changelist"),
        ],
    },
    {
        "title": "What happened",
        "separator": True,
        "items": [
            _entry("Spend", "payments", "ledger_hourrollup_changelist"),
            _entry("Events", "receipt_long", "ledger_usageevent_changelist"),
            _entry("Refusals", "block", "ledger_refusalcount_changelist"),
            _entry("Deliveries", "notifications", "alerts_delivery_changelist"),
            _entry("Webhooks", "webhook", "alerts_webhook_changelist"),
        ],
    },
    {
        "title": "What",
        "separator": True,
        "items": [
            _entry("Models", "neurology", "catalog_model_changelist"),
            _entry("Aliases", "alternate_email", "routing_alias_changelist"),
            _entry("Deployments", "hub", "catalog_deployment_changelist"),
            _entry("Providers", "cloud", "catalog_provider_changelist"),
            _entry("Price book", "sell", "catalog_price_changelist"),
            _entry("Discounts", "percent_discount", "catalog_discount_changelist"),
        ],
    },
    {
        "title": "Control",
        "separator": True,
        "items": [
            _entry("Releases", "inventory_2", "releases_release_changelist"),
            _entry("Audit log", "history", "audit_auditentry_changelist"),
            _entry("Books", "fact_check", "ledger_reconciliation_changelist"),
            _entry("Unread events", "mail", "ledger_deadletter_changelist"),
            _entry("Organizations", "domain", "teams_organization_changelist"),
            _entry("People", "person", "teams_user_changelist"),
            _entry("Groups", "group_work", "identity_groupmapping_changelist"),
            _entry("API tokens", "vpn_key", "api_apitoken_changelist"),
        ],
    },
]
