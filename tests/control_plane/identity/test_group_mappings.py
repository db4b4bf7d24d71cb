"""What groups mean, said over the REST API."""

from __future__ import annotations

from control_plane.api.services import issue_token
from control_plane.audit.models import AuditEntry
from control_plane.identity.models import GroupMapping
from control_plane.teams.people import create_person
from tests.control_plane.cast import Api


def test_a_mapping_is_made_found_and_removed_and_never_changed(api: Api) -> None:
    api.team()

    made = api.create("group-mappings", group="search-owners", role="owner", team="search")
    api.create("group-mappings", group="money", role="finance")

    assert (made["group"], made["role"], made["team"], made["department"]) == ("search-owners", "owner", "search", None)
    assert api.get("group-mappings?group=search-owners")["results"] == [made]
    assert api.call("PATCH", f"group-mappings/{made['id']}", {"role": "viewer"}).status_code == 405
    assert api.call("DELETE", f"group-mappings/{made['id']}").status_code == 204
    assert [row.group for row in GroupMapping.objects.all()] == ["money"]
    assert AuditEntry.objects.filter(kind="group_mapping", action="deleted", actor="alice").count() == 1


def test_a_mapping_that_means_nothing_is_refused_by_field(api: Api) -> None:
    api.team()
    api.create("group-mappings", group="money", role="finance")

    assert api.refused_fields("POST", "group-mappings", {"group": "x", "role": "king"}) == {"role"}
    assert api.refused_fields("POST", "group-mappings", {"group": "x", "role": "owner", "team": "none"}) == {"team"}
    assert api.refused_fields("POST", "group-mappings", {"group": "x", "role": "owner"}) == {None}
    assert api.refused_fields("POST", "group-mappings", {"group": "money", "role": "finance"}) == {None}


def test_only_a_platform_admin_says_what_groups_mean(api: Api) -> None:
    made = api.create("group-mappings", group="money", role="finance")
    calls = [("POST", "group-mappings"), ("DELETE", f"group-mappings/{made['id']}"), ("GET", "group-mappings")]

    def codes(role: str) -> list[int]:
        person = create_person(organization=api.organization, username=role, role=role)
        _, token = issue_token(user_id=person.pk, organization_id=api.organization.pk, name=role)
        theirs = Api(organization=api.organization, user=person, token=token, store=api.store)
        body = {"group": role, "role": "auditor"}
        return [theirs.call(method, path, body if method == "POST" else None).status_code for method, path in calls]

    assert codes("auditor") == [403, 403, 200]
    assert codes("finance") == [403, 404, 200]
    assert codes("platform_admin") == [201, 204, 200]
