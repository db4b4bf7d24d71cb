"""The admin's pages: what Alice does there is live on the next request, and secrets are shown once."""

from __future__ import annotations

import re

import pytest
from django.conf import settings as django_settings
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from control_plane.administration import ServiceAdmin
from control_plane.budgets.models import Budget
from control_plane.budgets.selectors import now_ms
from control_plane.catalog.models import Deployment, Provider
from control_plane.keys.models import VirtualKey
from control_plane.live import live_state
from control_plane.releases.models import Release
from control_plane.teams.models import Membership, Organization, Team, User
from kong_plugins.llm.keys import Principal, key_digest, key_id_of
from kong_plugins.llm.limits import Demand, Granted, Reservation, checks_for
from stack.ports import free_ports
from tests.control_plane.cast import Api, post, shown_errors

NO_MEMBERS = {
    "memberships-TOTAL_FORMS": "0",
    "memberships-INITIAL_FORMS": "0",
    "memberships-MIN_NUM_FORMS": "0",
    "memberships-MAX_NUM_FORMS": "1000",
}


@pytest.fixture
def everything(api: Api) -> Api:
    """An organization with a row of every kind."""
    api.team()
    api.deployment()
    api.create("keys", team="search", name="search-prod", tags=["prod"])
    api.budget(amount=100_000_000_000)
    api.budget(name="Each key", scope="key", subject=None, unit="tokens", period="day")
    api.limit()
    api.create("webhooks", url="http://127.0.0.1:9/hook")
    return api


def hold(api: Api, amount_nusd: int) -> None:
    """Admit a call of the team search that may cost so much."""
    policy, key_id = api.policy(), VirtualKey.objects.get().pk
    caller = Principal(organization=policy.organization, team="search", key=key_id, key_name="", tier="normal")
    demand = Demand(request_model="gpt-4o-mini", tokens=100, cost_nusd=amount_nusd)
    limits, budgets = checks_for(policy, caller, demand, now_ms=now_ms())
    api.store.set_ready(policy.organization, 1)
    answer = api.store.reserve(
        Reservation(
            organization=policy.organization,
            request_id="a-call",
            policy_number=policy.number,
            lease_ms=60_000,
            hold_nusd=amount_nusd,
            hold_tokens=100,
            limits=limits,
            budgets=budgets,
            draft=b"{}",
        )
    )
    assert isinstance(answer, Granted), answer


def test_every_page_of_every_model_can_be_opened(everything: Api, pages: Client) -> None:
    opened = 0
    for model, model_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        paths = [reverse(f"{name}_changelist")]
        if model_admin.has_add_permission(pages.get("/admin/").wsgi_request):
            paths.append(reverse(f"{name}_add"))
        paths += [reverse(f"{name}_change", args=[row.pk]) for row in model._default_manager.all()[:1]]
        for path in paths:
            answer = pages.get(path)
            assert answer.status_code == 200, path
            assert not re.search(r'(src|href)="(https?:)?//(?!testserver)', answer.content.decode()), path
            opened += 1
    assert opened > 30


def test_every_page_writes_through_services_and_deletes_nothing(pages: Client) -> None:
    request = pages.get("/admin/").wsgi_request
    for model, model_admin in admin.site._registry.items():
        if model is not User:
            assert isinstance(model_admin, ServiceAdmin), model
            assert not model_admin.has_delete_permission(request), model


def test_a_stranger_is_sent_to_the_log_in_page(db: None) -> None:
    answer = Client().get("/admin/keys/virtualkey/", follow=True)

    assert answer.redirect_chain[-1][0].startswith("/admin/login/")


def test_a_new_key_is_shown_once_and_live(everything: Api, pages: Client) -> None:
    team = Team.objects.get()

    page = post(pages, "/admin/keys/virtualkey/add/", {"team": team.pk, "name": "from a page", "tags": "a,b"})

    [full_key] = re.findall(r"bsr_\w+", page)
    key_id = key_id_of(full_key)
    assert key_id is not None
    record = everything.store.get_key(key_id)
    assert record is not None
    assert record.digest == key_digest(full_key, django_settings.KEY_PEPPER)
    assert (record.tags, record.active) == (("a", "b"), True)
    assert VirtualKey.objects.get(pk=key_id).created_by == everything.user
    for path in (f"/admin/keys/virtualkey/{key_id}/change/", "/admin/keys/virtualkey/", "/admin/"):
        assert full_key not in pages.get(path).content.decode()


def test_the_page_with_a_secret_is_kept_by_no_cache_and_no_session(everything: Api, pages: Client) -> None:
    answer = pages.post("/admin/keys/virtualkey/add/", {"team": Team.objects.get().pk, "name": "x", "tags": ""})

    [full_key] = re.findall(r"bsr_\w+", answer.content.decode())
    assert "no-store" in answer["cache-control"]
    assert full_key not in str(dict(pages.session)) + str(pages.cookies)


def test_a_revoked_key_is_inactive_for_gateways(everything: Api, pages: Client) -> None:
    key = VirtualKey.objects.get()
    path = f"/admin/keys/virtualkey/{key.pk}/revoke/"

    pages.get(path)
    before = everything.store.get_key(key.pk)
    answer = pages.post(path, {"_form_submitted": "True"})
    after = everything.store.get_key(key.pk)

    assert answer["hx-redirect"] == f"/admin/keys/virtualkey/{key.pk}/change/"
    assert before is not None
    assert after is not None
    assert (before.active, after.active) == (True, False)


def test_a_raised_cap_is_live(everything: Api, pages: Client) -> None:
    budget = Budget.objects.get(name="Search, monthly")
    fields = {
        "name": budget.name,
        "entered_amount": "250.50",
        "hard": "on",
        "active": "on",
        "thresholds_percent": "50,90",
    }

    post(pages, f"/admin/budgets/budget/{budget.pk}/change/", fields)

    period = budget.periods.order_by("starts_at_ms")[0]
    state = everything.store.budget_state(everything.organization.slug, str(budget.pk), "search", period.name)
    assert state is not None
    assert state.cap == 250_500_000_000
    assert everything.policy().budgets[-1].thresholds_percent == (50, 90)


def test_what_a_budget_is_about_cannot_be_changed_by_a_forged_form(everything: Api, pages: Client) -> None:
    budget = Budget.objects.get(name="Search, monthly")
    fields = {"name": budget.name, "entered_amount": "1", "thresholds_percent": "", "unit": "tokens", "period": "day"}

    post(pages, f"/admin/budgets/budget/{budget.pk}/change/", fields | {"scope": "organization", "subject": "x"})

    budget.refresh_from_db()
    assert (budget.unit, budget.period, budget.scope, budget.subject) == ("nusd", "month", "team", "search")
    assert budget.amount == 1_000_000_000


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"entered_amount": "-1"}, "greater than or equal to 0"),
        ({"entered_amount": "NaN"}, "Enter a number"),
        ({"entered_amount": "9000000.01"}, "At most 9,000,000 US dollars"),
        ({"entered_amount": "1.5", "unit": "tokens"}, "Give a whole number"),
        ({"subject": "unknown"}, "No such team: unknown"),
        ({"thresholds_percent": "90,50"}, "ascending order"),
        ({"thresholds_percent": "0"}, "greater than or equal to 1"),
        ({"name": "Search, monthly"}, "already exists"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_beside_its_field(
    everything: Api, pages: Client, changed: dict[str, str], complaint: str
) -> None:
    fields = {
        "organization": everything.organization.pk,
        "name": "new",
        "scope": "team",
        "subject": "search",
        "unit": "nusd",
        "period": "month",
        "entered_amount": "1",
        "thresholds_percent": "50",
    }
    before = Budget.objects.count()

    assert complaint in shown_errors(pages, "/admin/budgets/budget/add/", fields | changed)
    assert Budget.objects.count() == before
    post(pages, "/admin/budgets/budget/add/", fields)
    assert Budget.objects.count() == before + 1


def test_a_team_is_made_and_then_has_people(everything: Api, pages: Client) -> None:
    fields = {
        "organization": everything.organization.pk,
        "slug": "support",
        "name": "Support",
        "tier": "critical",
        "allowed_models": ["gpt-4o-mini"],
    }

    post(pages, "/admin/teams/team/add/", fields | NO_MEMBERS)

    [team] = [team for team in everything.policy().teams if team.id == "support"]
    assert (team.tier, team.models) == ("critical", ("gpt-4o-mini",))
    team_id = Team.objects.get(slug="support").pk
    role = {"user": everything.user.pk, "organization": everything.organization.pk, "role": "owner", "team": team_id}
    assert "alice" in post(pages, "/admin/teams/membership/add/", role)
    assert Membership.objects.get().team_id == team_id
    post(
        pages,
        f"/admin/teams/team/{Team.objects.get(slug='support').pk}/change/",
        {"name": "Support", "tier": "normal"} | NO_MEMBERS,
    )
    [team] = [team for team in everything.policy().teams if team.id == "support"]
    assert (team.tier, team.models) == ("normal", None)


def test_a_price_is_entered_in_dollars_and_becomes_a_new_row(everything: Api, pages: Client) -> None:
    deployment = Deployment.objects.get()
    fields = {"provider_model": "gpt-4o-mini", "protocol": "openai_chat", "order": "0", "active": "on", "weight": "1"}
    prices = {"input_nusd": "0.15", "cache_read_nusd": "0.075", "cache_write_nusd": "0.15", "output_nusd": "0.6"}
    price_book = {"prices-TOTAL_FORMS": "0", "prices-INITIAL_FORMS": "0"}
    path = f"/admin/catalog/deployment/{deployment.pk}/change/"

    post(pages, path, fields | prices | price_book)
    assert deployment.prices.count() == 1
    post(pages, path, fields | prices | price_book | {"output_nusd": "0.7", "longest_audio_s": "7200"})

    assert everything.policy().deployments[0].longest_audio_s == 7200
    price = everything.policy().deployments[0].price
    assert price is not None
    assert price.output_nusd == 700_000_000
    assert deployment.prices.count() == 2
    assert "Give the price of every kind" in shown_errors(pages, path, fields | price_book | {"output_nusd": "0.7"})


def test_a_credential_is_written_and_never_shown(everything: Api, pages: Client) -> None:
    provider = Provider.objects.get()
    path = f"/admin/catalog/provider/{provider.pk}/change/"
    before = everything.policy().credentials

    kept = {"vendor": provider.vendor, "base_url": provider.base_url, "authentication": provider.authentication}

    post(pages, path, kept | {"credential": ""})
    assert everything.policy().credentials == before
    post(pages, path, kept | {"credential": "sk-from-a-page"})

    assert everything.policy().credentials != before
    assert "sk-from-a-page" not in pages.get(path).content.decode()
    refused = {"credential": "a credential with blanks", "base_url": "no address"}
    assert "a credential with blanks" not in shown_errors(pages, path, kept | refused)


def test_a_release_can_be_read_and_not_changed(everything: Api, pages: Client) -> None:
    release = Release.objects.first()
    assert release is not None
    path = f"/admin/releases/release/{release.pk}/change/"

    assert release.checksum in pages.get(path).content.decode()
    assert pages.post(path, {"number": 99}).status_code == 403
    assert pages.post(f"/admin/releases/release/{release.pk}/delete/", {"post": "yes"}).status_code == 403


def test_an_api_token_is_shown_once_and_works_until_it_is_revoked(everything: Api, pages: Client) -> None:
    fields = {"organization": everything.organization.pk, "user": everything.user.pk, "name": "from a page"}

    [token] = re.findall(r"bsa_[\w-]+", post(pages, "/admin/api/apitoken/add/", fields))

    program = Api(everything.organization, everything.user, token, everything.store)
    row = everything.user.api_tokens.get(name="from a page")
    assert program.call("GET", "teams").status_code == 200
    pages.post(f"/admin/api/apitoken/{row.pk}/revoke/", {"_form_submitted": "True"})
    assert program.call("GET", "teams").status_code == 401


def test_the_list_of_budgets_shows_what_is_held_right_now(everything: Api, pages: Client) -> None:
    hold(everything, 40_000_000_000)

    page = pages.get("/admin/budgets/budget/").content.decode()

    assert "$100.00" in page
    assert "$40.00" in page
    assert "40% of the cap is spent or held" in page


def test_without_redis_pages_open_and_a_change_is_said_to_wait(
    everything: Api, pages: Client, settings: Settings
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_ports().redis}/0"
    live_state.cache_clear()
    try:
        changed = post(
            pages, f"/admin/teams/team/{Team.objects.get().pk}/change/", {"name": "S", "tier": "critical"} | NO_MEMBERS
        )
        budgets = pages.get("/admin/budgets/budget/").content.decode()
        first_page = pages.get("/admin/").content.decode()
    finally:
        live_state.cache_clear()

    assert "not live yet" in changed
    assert "Redis cannot be reached" in budgets
    assert "are not live yet" in first_page
    assert Organization.objects.get().behind_since is not None
