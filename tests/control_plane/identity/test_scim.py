"""SCIM as Okta and Entra ID speak it: the requests are those of their own documents.

https://developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20 and
https://learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import pytest
from django.test import Client

from control_plane.api.services import issue_token
from control_plane.audit.models import AuditEntry
from control_plane.identity.models import DirectoryPerson
from control_plane.identity.services import create_mapping
from control_plane.keys.services import create_key
from control_plane.teams.models import Membership, Organization, Team, User
from control_plane.teams.people import change_person, create_membership, create_person
from tests.control_plane.cast import Api

_PATCH: Final = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
_OKTA_USER: Final[dict[str, Any]] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "test.user@okta.local",
    "name": {"givenName": "Test", "familyName": "User"},
    "emails": [{"primary": True, "value": "test.user@okta.local", "type": "work"}],
    "displayName": "Test User",
    "locale": "en-US",
    "externalId": "00ujl29u0le5T6Aj10h7",
    "groups": [],
    "password": "1mz050nq",
    "active": True,
}
_ENTRA_USER: Final[dict[str, Any]] = {
    "schemas": [
        "urn:ietf:params:scim:schemas:core:2.0:User",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    ],
    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "Test_User_00aa00aa-bb11-cc22-dd33-44ee44ee44ee",
    "active": True,
    "emails": [{"primary": True, "type": "work", "value": "Test_User_11bb11bb@testuser.com"}],
    "meta": {"resourceType": "User"},
    "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
    "roles": [],
}
_OKTA_OFF: Final = {"schemas": _PATCH, "Operations": [{"op": "replace", "value": {"active": False}}]}
_ENTRA_OFF: Final = {"schemas": _PATCH, "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}

Scim = Callable[..., Any]


@pytest.fixture
def scim(api: Api) -> Scim:
    """SCIM as the identity provider calls it: with a service account's token that is for nothing else."""
    robot = create_person(
        organization=api.organization, username="provisioning", role="platform_admin", is_service=True
    )
    _, token = issue_token(user_id=robot.pk, organization_id=api.organization.pk, name="directory", scopes=["scim"])
    return caller(token)


def caller(token: str) -> Scim:
    client = Client(headers={"authorization": f"Bearer {token}"}, raise_request_exception=False)

    def call(method: str, path: str, body: Any = None, *, expected: int = 200) -> Any:
        sent = "" if body is None else json.dumps(body)
        answer = client.generic(method, f"/scim/v2/{path}", sent, content_type="application/scim+json")
        assert answer.status_code == expected, answer.content.decode()
        assert answer.status_code == 204 or answer["content-type"] == "application/scim+json"
        return json.loads(answer.content or "{}")

    return call


def found(scim: Scim, kind: str, filter_text: str) -> list[Any]:
    answer = scim("GET", f"{kind}?filter={quote(filter_text)}&startIndex=1&count=100")
    assert answer["totalResults"] == answer["itemsPerPage"] == len(answer["Resources"])
    resources: list[Any] = answer["Resources"]
    return resources


def roles(user_id: str) -> set[tuple[str, bool]]:
    return {(row.role, row.from_groups) for row in Membership.objects.filter(user=int(user_id))}


def test_okta_finds_nobody_makes_somebody_and_finds_them(scim: Scim) -> None:
    assert scim("GET", "Users?startIndex=1&count=2")["Resources"] == []
    assert found(scim, "Users", 'userName eq "test.user@okta.local"') == []

    made = scim("POST", "Users", _OKTA_USER, expected=201)

    assert (made["userName"], made["active"], made["externalId"]) == (
        "test.user@okta.local",
        True,
        "00ujl29u0le5T6Aj10h7",
    )
    assert "password" not in json.dumps(made)
    assert found(scim, "Users", 'userName eq "TEST.user@okta.local"') == [made]
    assert found(scim, "Users", 'externalId eq "00ujl29u0le5T6Aj10h7"') == [made]
    assert scim("GET", f"Users/{made['id']}") == made
    user = User.objects.get(pk=made["id"])
    assert (user.first_name, user.email, user.has_usable_password()) == ("Test", "test.user@okta.local", False)
    assert scim("POST", "Users", _OKTA_USER, expected=409)["scimType"] == "uniqueness"
    entry = AuditEntry.objects.get(kind="directory_person", action="created")
    assert (entry.actor, entry.token, entry.way) == ("provisioning", "directory", "api")

    changed = _OKTA_USER | {"name": {"givenName": "Another", "middleName": "Excited", "familyName": "User"}}
    assert scim("PUT", f"Users/{made['id']}", changed)["name"]["givenName"] == "Another"


def test_entra_makes_changes_and_renames_somebody(scim: Scim) -> None:
    made = scim("POST", "Users", _ENTRA_USER, expected=201)
    path = f"Users/{made['id']}"

    scim(
        "PATCH",
        path,
        {
            "schemas": _PATCH,
            "Operations": [
                {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "updatedEmail@microsoft.com"},
                {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
                {"op": "Add", "path": "title", "value": "of no concern here"},
            ],
        },
    )
    new_name = "5b50642d-79fc-4410-9e90-4c077cdd1a59@testuser.com"
    renamed = scim("PATCH", path, {"Operations": [{"op": "Replace", "path": "userName", "value": new_name}]})

    assert renamed["emails"] == [{"value": "updatedEmail@microsoft.com", "type": "work", "primary": True}]
    assert (renamed["userName"], renamed["name"]["familyName"]) == (new_name, "updatedFamilyName")
    assert found(scim, "Users", 'emails[type eq "work"].value eq "updatedEmail@microsoft.com"') == [renamed]
    assert found(scim, "Users", ["externalId eq 0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef", " active eq true"][0])


@pytest.mark.parametrize("way", ["okta patch", "okta put", "entra patch", "delete"])
def test_who_is_switched_off_loses_sessions_tokens_and_personal_keys_at_once(api: Api, scim: Scim, way: str) -> None:
    api.team()
    team = Team.objects.get()
    bob = create_person(organization=api.organization, username="test.user@okta.local", role="member", team=team)
    browser = Client()
    browser.force_login(bob)
    _, token = issue_token(user_id=bob.pk, organization_id=api.organization.pk, name="bob's")
    program = Client(headers={"authorization": f"Token {token}"})
    key, _ = create_key(team=team, created_by=bob, name="bob's own")
    assert [browser.get("/admin/").status_code, program.get("/api/v1/teams").status_code] == [200, 200]

    (resource,) = found(scim, "Users", 'userName eq "test.user@okta.local"')
    path = f"Users/{resource['id']}"
    off: dict[str, tuple[Any, ...]] = {
        "okta patch": ("PATCH", path, _OKTA_OFF),
        "okta put": ("PUT", path, _OKTA_USER | {"active": False}),
        "entra patch": ("PATCH", path, _ENTRA_OFF),
        "delete": ("DELETE", path),
    }
    scim(*off[way], expected=204 if way == "delete" else 200)

    assert [browser.get("/admin/").status_code, program.get("/api/v1/teams").status_code] == [302, 401]
    record = api.store.get_key(key.pk)
    assert record is not None
    assert not record.active
    assert scim("GET", path)["active"] is False
    entry = AuditEntry.objects.filter(kind="user", object_id=str(bob.pk)).first()
    assert entry is not None
    assert entry.actor == "provisioning"

    on = {"Operations": [{"op": "Replace", "path": "active", "value": True}]}
    assert scim("PATCH", path, on)["active"] is True
    assert program.get("/api/v1/teams").status_code == 401


def test_whom_an_administrator_has_switched_off_no_update_of_the_directory_switches_on(scim: Scim) -> None:
    made = scim("POST", "Users", _OKTA_USER, expected=201)
    change_person(int(made["id"]), is_active=False)

    assert scim("PUT", f"Users/{made['id']}", _OKTA_USER)["active"] is False


def test_who_belongs_to_another_organization_too_loses_what_they_have_in_this_one(api: Api, scim: Scim) -> None:
    other = Organization.objects.create(slug="other", name="Other")
    bob = create_person(organization=other, username="bob", role="auditor")
    create_membership(organization=api.organization, user=bob, role="auditor")
    tokens = {
        row.slug: issue_token(user_id=bob.pk, organization_id=row.pk, name="bob's")[1]
        for row in (api.organization, other)
    }

    answer = scim("PATCH", f"Users/{bob.pk}", _OKTA_OFF)

    assert answer["active"] is False
    bob.refresh_from_db()
    assert bob.is_active
    assert [row.organization for row in bob.memberships.all()] == [other]
    works = {
        slug: Client(headers={"authorization": f"Token {token}"}).get("/api/v1/organization").status_code
        for slug, token in tokens.items()
    }
    assert works == {api.organization.slug: 401, "other": 200}
    renamed = {
        "Operations": [{"op": "replace", "value": {"userName": "mallory", "emails": [{"value": "m@x.example"}]}}]
    }
    assert scim("PATCH", f"Users/{bob.pk}", renamed)["userName"] == "bob"


def test_groups_give_and_take_what_mappings_say(api: Api, scim: Scim) -> None:
    api.team()
    team = Team.objects.get()
    create_mapping(organization=api.organization, group="Test SCIMv2", role="member", team=team)
    create_mapping(organization=api.organization, group="8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", role="finance")
    first = scim("POST", "Users", _OKTA_USER, expected=201)["id"]
    second = scim("POST", "Users", _ENTRA_USER, expected=201)["id"]
    create_membership(organization=api.organization, user=User.objects.get(pk=first), role="auditor")
    okta = scim("POST", "Groups", {"displayName": "Test SCIMv2", "members": []}, expected=201)
    by_id = {"externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "displayName"}
    entra = scim("POST", "Groups", by_id, expected=201)
    assert scim("POST", "Groups", by_id, expected=409)["scimType"] == "uniqueness"

    def patch(group: Any, *operations: dict[str, Any]) -> None:
        scim("PATCH", f"Groups/{group['id']}", {"schemas": _PATCH, "Operations": list(operations)}, expected=204)

    patch(okta, {"op": "add", "path": "members", "value": [{"value": first, "display": "test.user@okta.local"}]})
    patch(entra, {"op": "Add", "path": "members", "value": [{"$ref": None, "value": first}]})
    assert roles(first) == {("auditor", False), ("member", True), ("finance", True)}
    assert {group["display"] for group in scim("GET", f"Users/{first}")["groups"]} == {"Test SCIMv2", "displayName"}

    patch(
        okta,
        {"op": "remove", "path": f'members[value eq "{first}"]'},
        {"op": "add", "path": "members", "value": [{"value": second}]},
    )
    assert (roles(first), roles(second)) == ({("auditor", False), ("finance", True)}, {("member", True)})
    patch(entra, {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": first}]})
    assert roles(first) == {("auditor", False)}
    patch(okta, {"op": "replace", "path": "members", "value": [{"value": first}, {"value": second}]})
    assert [member["value"] for member in scim("GET", f"Groups/{okta['id']}")["members"]] == [first, second]

    patch(okta, {"op": "replace", "value": {"id": okta["id"], "displayName": "Another name"}})
    assert (roles(first), roles(second)) == ({("auditor", False)}, set())
    scim("PUT", f"Groups/{okta['id']}", {"displayName": "Test SCIMv2", "members": [{"value": second}]})
    scim("PUT", f"Groups/{okta['id']}", {"displayName": "Test SCIMv2"})
    assert roles(second) == {("member", True)}
    by_name = quote('displayName eq "Test SCIMv2"')
    excluded = scim("GET", f"Groups?excludedAttributes=members&filter={by_name}")
    assert "members" not in excluded["Resources"][0]
    okta_id = okta["id"]
    assert len(found(scim, "Groups", f'id eq "{okta_id}" and members eq "{second}"')) == 1
    scim("DELETE", f"Groups/{okta['id']}", expected=204)
    assert roles(second) == set()
    scim("GET", f"Groups/{okta['id']}", expected=404)


def test_only_a_platform_admin_with_a_token_for_it_is_heard_and_of_their_own_organization(api: Api, scim: Scim) -> None:
    other = Organization.objects.create(slug="other", name="Other")
    stranger = create_person(organization=other, username="stranger", role="auditor")
    auditor = create_person(organization=api.organization, username="auditor", role="auditor", is_service=True)
    colleague = create_person(organization=api.organization, username="colleague", role="auditor")
    of_auditor = issue_token(user_id=auditor.pk, organization_id=api.organization.pk, name="a", scopes=["scim"])[1]
    of_alice = issue_token(user_id=api.user.pk, organization_id=api.organization.pk, name="b", scopes=["admin"])[1]

    for path in (f"Users/{stranger.pk}", f"Users/{auditor.pk}", "Users/none", "Nothing"):
        scim("GET", path, expected=404)
    scim("PATCH", f"Users/{stranger.pk}", _OKTA_OFF, expected=404)
    caller("bsa_none")("GET", "Users", expected=401)
    caller(of_alice)("GET", "Users", expected=403)
    caller(of_auditor)("GET", f"Users/{colleague.pk}")
    caller(of_auditor)("PATCH", f"Users/{colleague.pk}", _OKTA_OFF, expected=403)
    caller(of_auditor)("POST", "Users", _OKTA_USER, expected=403)
    caller(of_auditor)("POST", "Groups", {"displayName": "admins"}, expected=403)
    colleague.refresh_from_db()
    assert colleague.is_active
    assert not DirectoryPerson.objects.exists()
    assert not User.objects.filter(username="test.user@okta.local").exists()


def test_what_cannot_be_understood_is_said_as_scim_says_it(scim: Scim) -> None:
    user = scim("POST", "Users", _OKTA_USER, expected=201)
    path = f"Users/{user['id']}"
    cases: list[tuple[str, tuple[Any, ...]]] = [
        ("invalidFilter", ("GET", "Users?filter=userName%20co%20%22x%22")),
        ("invalidFilter", ("GET", "Users?filter=userName%20eq%20%22x%22%20or%20userName%20eq%20%22y%22")),
        ("invalidFilter", ("GET", "Users?filter=title%20eq%20%22x%22")),
        ("invalidValue", ("GET", "Users?count=many")),
        ("invalidSyntax", ("PATCH", path, {"Operations": []})),
        ("invalidSyntax", ("PATCH", path, {"Operations": [{"op": "move", "path": "active"}]})),
        ("noTarget", ("PATCH", path, {"Operations": [{"op": "remove"}]})),
        ("invalidValue", ("PATCH", path, {"Operations": [{"op": "replace", "path": "active", "value": "maybe"}]})),
        ("invalidValue", ("PATCH", path, {"Operations": [{"op": "replace", "path": "userName", "value": 7}]})),
        ("invalidValue", ("POST", "Users", {"userName": "bob", "emails": [{"value": "no address"}]})),
        ("invalidValue", ("POST", "Users", {"name": {"givenName": "Nobody"}})),
        ("invalidValue", ("POST", "Groups", {"displayName": "x", "members": [{"value": "987654"}]})),
        ("invalidSyntax", ("POST", "Users", ["x"])),
    ]
    for scim_type, request in cases:
        problem = scim(*request, expected=400)
        assert (problem["scimType"], problem["status"]) == (scim_type, "400"), request
    assert scim("GET", path) == user


def test_the_server_says_what_it_can_do(scim: Scim) -> None:
    configuration = scim("GET", "ServiceProviderConfig")

    assert (configuration["patch"], configuration["bulk"]["supported"]) == ({"supported": True}, False)
    types = scim("GET", "ResourceTypes")["Resources"]
    assert [(row["id"], row["endpoint"]) for row in types] == [("User", "/Users"), ("Group", "/Groups")]
    assert [row["id"] for row in scim("GET", "Schemas")["Resources"]] == [row["schema"] for row in types]
    assert scim("GET", f"Schemas/{types[0]['schema']}")["name"] == "User"
