"""Lists of the admin as files: what the list shows with the same query, and nothing that its reader may not see."""

from __future__ import annotations

import csv
import io

from django.test import Client

from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Membership, Team, User
from tests.control_plane.cast import Api


def owner_of(api: Api, team: str) -> Client:
    user = User.objects.create_user(f"owner of {team}", is_staff=True)
    place = Team.objects.get(slug=team)
    Membership.objects.create(user=user, organization=api.organization, team=place, role="owner")
    client = Client()
    client.force_login(user)
    return client


def lines(client: Client, path: str) -> list[dict[str, str]]:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def test_a_list_is_downloaded_as_it_is_filtered_and_seen(api: Api) -> None:
    for team in ("search", "support"):
        api.team(team)
        api.create("keys", team=team, name=f"key of {team}")
        api.budget(name=f"Budget of {team}", subject=team)
        api.limit(name=f"Limit of {team}", subject=team)
    api.create("keys", team="search", name="another", description="=1+1", tags=["a", "b"])
    client = owner_of(api, "search")

    found = lines(client, "/admin/keys/virtualkey/export.csv?q=another")
    assert [(key["name"], key["team__slug"], key["description"], key["tags"]) for key in found] == [
        ("another", "search", "'=1+1", "a b")
    ]
    assert {digest for row in found for digest in row.values()}.isdisjoint(
        VirtualKey.objects.values_list("digest", flat=True)
    )
    assert len(lines(client, "/admin/keys/virtualkey/export.csv")) == 2
    for kind, name in (("budget", "Budget of search"), ("limit", "Limit of search")):
        assert [row["name"] for row in lines(client, f"/admin/budgets/{kind}/export.csv")] == [name]
    assert [row["slug"] for row in lines(client, "/admin/teams/team/export.csv")] == ["search"]
    assert lines(client, "/admin/ledger/usageevent/export.csv") == []
    assert lines(client, "/admin/ledger/refusalcount/export.csv?mode=shadow&refusals-sort=-calls") == []
    assert "export.csv?q=another" in client.get("/admin/keys/virtualkey/?q=another").content.decode()
    assert client.get("/admin/keys/virtualkey/export.csv?nothing__exact=1").status_code == 400
