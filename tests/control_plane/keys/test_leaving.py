"""What becomes of the keys of people who are switched off."""

from __future__ import annotations

from django.test import Client

from control_plane.api.services import issue_token
from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Team
from control_plane.teams.people import change_person, create_person
from tests.control_plane.cast import Api


def test_personal_keys_end_with_their_person_and_the_teams_own_go_on(api: Api) -> None:
    api.team()
    team = Team.objects.get()

    def issue(username: str, role: str, **fields: object) -> tuple[int, str, bool]:
        person = create_person(organization=api.organization, username=username, role=role, team=team)
        _, token = issue_token(user_id=person.pk, organization_id=api.organization.pk, name=username)
        client = Client(headers={"authorization": f"Token {token}"})
        body = {"team": "search", "name": f"of {username}", **fields}
        key = client.post("/api/v1/keys", body, content_type="application/json").json()
        return person.pk, key["id"], key["personal"]

    issued = {
        "bob": issue("bob", "member"),
        "fred": issue("fred", "member", personal=False),
        "dora": issue("dora", "owner"),
        "erin": issue("erin", "owner", personal=True),
    }
    api.change(f"keys/{issued['fred'][1]}", description="still the team's")
    assert {name: personal for name, (_, _, personal) in issued.items()} == {
        "bob": True,
        "fred": False,
        "dora": False,
        "erin": True,
    }

    for person, _, _ in issued.values():
        change_person(person, is_active=False)

    ended = {key.pk for key in VirtualKey.objects.exclude(revoked_at=None)}
    assert ended == {issued["bob"][1], issued["erin"][1]}
    for name, (_, key_id, _) in issued.items():
        record = api.store.get_key(key_id)
        assert record is not None
        assert record.active == (name in ("fred", "dora"))
