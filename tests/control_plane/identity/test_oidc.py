"""Single sign-on by OpenID Connect: the whole authorization-code flow against a real provider on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client
from pytest_django import Settings

from control_plane.audit.models import AuditEntry
from control_plane.identity.configuration import providers_from
from control_plane.identity.directory import change_directory_person, create_group, provision_person, set_members
from control_plane.identity.services import create_mapping, remove_mapping
from control_plane.teams.models import Team, User
from control_plane.teams.people import change_person, create_membership, create_person
from tests.control_plane.cast import Api
from tests.control_plane.identity.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider

_LOGIN = "/admin/sso/oidc/login/"
_BOB = {
    "sub": "provider-bob",
    "email": "bob@acme.example",
    "email_verified": True,
    "preferred_username": "bob",
    "given_name": "Bob",
    "family_name": "Builder",
    "groups": ["search-owners"],
}


@pytest.fixture
def provider(settings: Settings) -> Iterator[OidcProvider]:
    with oidc_provider() as running:
        settings.SOCIALACCOUNT_PROVIDERS = providers_from(
            {
                "BURSAR_OIDC_ISSUER": running.issuer,
                "BURSAR_OIDC_CLIENT_ID": CLIENT_ID,
                "BURSAR_OIDC_CLIENT_SECRET": CLIENT_SECRET,
                "BURSAR_OIDC_NAME": "Acme ID",
            }
        )
        running.claims = dict(_BOB)
        yield running


@pytest.fixture
def search(api: Api) -> Team:
    api.team("search")
    return Team.objects.get()


def sign_in(provider: OidcProvider, **claims: Any) -> tuple[Client, Any]:
    """A browser that has been to the provider and back, and the answer to the last step."""
    provider.claims |= claims
    browser = Client()
    away = browser.post(_LOGIN)
    assert away.status_code == 302, away.content
    back = httpx.get(away["location"]).headers["location"]
    return browser, browser.get(back)


def roles(user: User) -> set[tuple[str, bool]]:
    return {(row.role, row.from_groups) for row in user.memberships.all()}


def test_who_is_in_a_group_that_means_something_comes_in_with_its_roles(
    api: Api, search: Team, provider: OidcProvider
) -> None:
    create_mapping(organization=api.organization, group="search-owners", role="owner", team=search)

    browser, answer = sign_in(provider)

    assert (answer.status_code, answer["location"]) == (302, "/admin/")
    assert browser.get("/admin/").status_code == 200
    bob = User.objects.get(username="bob")
    assert (bob.email, bob.first_name, bob.has_usable_password()) == ("bob@acme.example", "Bob", False)
    assert roles(bob) == {("owner", True)}
    entry = AuditEntry.objects.get(kind="membership", action="created")
    assert (entry.actor, entry.reason) == ("identity-provider", "log-in of bob@acme.example")
    tied = AuditEntry.objects.get(kind="sign_in", action="created")
    assert (tied.actor, tied.actor_id, tied.way) == ("bob", str(bob.pk), "web")


def test_each_log_in_gives_and_takes_what_groups_mean_and_leaves_what_was_given_by_hand(
    api: Api, search: Team, provider: OidcProvider
) -> None:
    owners = create_mapping(organization=api.organization, group="search-owners", role="owner", team=search)
    create_mapping(organization=api.organization, group="money", role="finance")
    sign_in(provider)
    bob = User.objects.get(username="bob")
    create_membership(organization=api.organization, user=bob, role="auditor")

    sign_in(provider, groups=["search-owners", "money", "nobody knows it"])
    assert roles(bob) == {("owner", True), ("finance", True), ("auditor", False)}

    remove_mapping(owners)
    sign_in(provider, groups=["money"])
    assert roles(bob) == {("finance", True), ("auditor", False)}

    sign_in(provider, groups=[])
    assert roles(bob) == {("auditor", False)}
    assert SocialAccount.objects.count() == 1


def test_who_has_lost_the_last_role_is_turned_away(api: Api, search: Team, provider: OidcProvider) -> None:
    create_mapping(organization=api.organization, group="search-owners", role="owner", team=search)
    sign_in(provider)

    browser, answer = sign_in(provider, groups=[])

    assert answer.status_code == 403
    assert "You have no role here" in answer.content.decode()
    assert browser.get("/admin/").status_code == 302
    assert roles(User.objects.get(username="bob")) == set()


def test_who_has_an_account_is_tied_to_it_by_a_verified_address_only(api: Api, provider: OidcProvider) -> None:
    carol = create_person(organization=api.organization, username="carol", email="Bob@acme.example", role="auditor")

    for unverified in (False, None, "false"):
        _, refused = sign_in(provider, email_verified=unverified, groups=[])
        assert refused.status_code == 403
    assert not SocialAccount.objects.exists()

    browser, answer = sign_in(provider, email_verified=True, groups=[])
    assert answer["location"] == "/admin/"
    assert SocialAccount.objects.get().user == carol
    assert browser.get("/admin/").context["user"] == carol
    # From then on the provider's own id tells who it is, whatever becomes of the address.
    assert sign_in(provider, email="elsewhere@acme.example", email_verified=False)[1]["location"] == "/admin/"


def test_neither_service_accounts_nor_those_who_are_switched_off_nor_strangers_come_in(
    api: Api, provider: OidcProvider
) -> None:
    program = create_person(
        organization=api.organization, username="robot", email="bob@acme.example", role="auditor", is_service=True
    )
    assert sign_in(provider)[1].status_code == 403

    dora = create_person(organization=api.organization, username="dora", email="dora@acme.example", role="auditor")
    change_person(dora.pk, is_active=False)
    assert sign_in(provider, email="dora@acme.example")[1].status_code == 403

    stranger = sign_in(provider, email="eve@elsewhere.example", sub="eve", preferred_username="eve")[1]
    assert stranger.status_code == 403
    assert not User.objects.filter(username="eve").exists()
    assert program.memberships.count() == 1


def test_an_answer_of_the_provider_is_good_once_and_in_the_browser_that_asked(
    api: Api, search: Team, provider: OidcProvider, settings: Settings
) -> None:
    create_mapping(organization=api.organization, group="search-owners", role="owner", team=search)
    browser = Client()
    away = browser.post(_LOGIN)["location"]
    asked = parse_qs(urlsplit(away).query)
    back = httpx.get(away).headers["location"]

    assert asked["code_challenge_method"] == ["S256"]
    assert "The log-in did not work" in Client().get(back).content.decode()
    assert browser.get(back)["location"] == "/admin/"
    assert "The log-in did not work" in Client().get(back).content.decode()
    # The log-in page asks with a form of its own: a link from elsewhere signs nobody in, but leads to one that may.
    settings.SIGN_IN_ORIGINS = ["https://login.acme.example"]
    linked = Client().get(_LOGIN)
    assert linked.status_code == 200
    assert "form-action 'self' https://login.acme.example" in linked["content-security-policy"]


def test_the_log_in_page_offers_the_provider_and_may_lead_there(provider: OidcProvider, db: None) -> None:
    page = Client().get("/admin/login/").content.decode()

    assert "Log in with Acme ID" in page
    assert 'name="password"' in page


def test_whom_the_directory_has_told_of_comes_in_by_its_id_with_the_roles_of_its_groups(
    api: Api, search: Team, provider: OidcProvider
) -> None:
    create_mapping(organization=api.organization, group="search-owners", role="owner", team=search)
    create_mapping(organization=api.organization, group="money", role="finance")
    told: dict[str, Any] = {"username": "bob@acme.example", "email": "bob@acme.example", "external_id": "provider-bob"}
    bob = provision_person(organization=api.organization, **told).user
    group = create_group(organization=api.organization, name="search-owners", members=[bob])

    # Entra ID says of no address that it is verified.
    assert sign_in(provider, email_verified=None, groups=["money"])[1]["location"] == "/admin/"
    assert SocialAccount.objects.get().user == bob
    assert roles(bob) == {("owner", True), ("finance", True)}
    set_members(group, [])
    assert roles(bob) == {("finance", True)}

    change_directory_person(organization=api.organization, user=bob, active=False)
    assert sign_in(provider, groups=["money"])[1].status_code == 403


def test_what_a_directory_says_ties_nobody_to_an_account_with_a_password(api: Api, provider: OidcProvider) -> None:
    mallory = provision_person(organization=api.organization, username="mallory", external_id="provider-bob").user
    change_person(mallory.pk, password="correct horse battery staple")

    assert sign_in(provider, groups=[])[1].status_code == 403
    assert not SocialAccount.objects.exists()
