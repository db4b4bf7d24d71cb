"""Every change of what governs is recorded by the database, with who made it, and without any secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from control_plane.audit.context import Acting, acting_as
from control_plane.audit.governed import GOVERNED, NOT_RECORDED
from control_plane.audit.models import AuditEntry
from control_plane.audit.triggers import governed_tables, install_triggers
from control_plane.budgets.models import Budget
from control_plane.keys.models import VirtualKey
from control_plane.releases.tasks import republish
from control_plane.teams.models import Membership, Team, User
from tests.control_plane.audit.conftest import Newest
from tests.control_plane.cast import Api, environment, post

REPOSITORY: Final = Path(__file__).parents[3]


def entries_of(kind: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(kind=kind).exclude(action="emptied").order_by("id"))


def change_past_django(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def test_every_kind_of_row_is_recorded_or_is_said_not_to_be_and_why() -> None:
    ours = {
        model._meta.label
        for model in apps.get_models(include_auto_created=True)
        if model.__module__.startswith("control_plane.")
    }
    assert ours - GOVERNED.keys() - NOT_RECORDED.keys() == set(), "name them in control_plane/audit/governed.py"
    assert not GOVERNED.keys() & NOT_RECORDED.keys()
    assert all(NOT_RECORDED.values())
    for label in (*GOVERNED, *NOT_RECORDED):
        apps.get_model(label)
    assert len({governed.kind for governed in GOVERNED.values()}) == len(GOVERNED)


def test_a_budget_is_recorded_from_its_making_to_its_end(api: Api, newest: Newest) -> None:
    api.team()
    budget = api.budget(amount=5_000)
    made = newest("budget")

    api.change(f"budgets/{budget['id']}", amount=8_000, hard=False)

    changed = newest("budget")
    assert (made.action, made.before, made.after["amount"], made.after["scope"]) == ("created", {}, 5_000, "team")
    assert (changed.action, changed.object_id, changed.object_name) == ("changed", str(budget["id"]), "Search, monthly")
    assert changed.before == {"amount": 5_000, "given_amount": 5_000, "hard": True}
    assert changed.after == {"amount": 8_000, "given_amount": 8_000, "hard": False}
    assert (changed.organization, changed.team, changed.unit) == (api.organization.slug, "search", "nusd")

    Budget.objects.get().periods.all().delete()
    Budget.objects.get().delete()

    deleted = newest("budget")
    assert (deleted.action, deleted.before["amount"], deleted.after) == ("deleted", 8_000, {})


def test_no_way_past_the_models_is_past_the_log(api: Api, newest: Newest) -> None:
    api.team()
    keys = [api.create("keys", team="search", name=f"key {number}")["id"] for number in range(3)]
    start = AuditEntry.objects.count()

    VirtualKey.objects.update(tags=["bulk"])
    assert [(entry.object_id, entry.after) for entry in entries_of("key")[-3:]] == [
        (key, {"tags": ["bulk"]}) for key in keys
    ]
    change_past_django("UPDATE keys_virtualkey SET name = %s WHERE id = %s", "raw", keys[0])
    assert newest("key").after == {"name": "raw"}
    change_past_django("WITH gone AS (DELETE FROM keys_virtualkey WHERE id = %s RETURNING 1) SELECT 1", keys[0])
    assert (newest("key").action, newest("key").object_name) == ("deleted", "raw")
    with transaction.atomic():
        VirtualKey.objects.update(tags=["never"])
        transaction.set_rollback(True)
    assert AuditEntry.objects.count() == start + 5

    change_past_django("TRUNCATE keys_virtualkey CASCADE")
    assert AuditEntry.objects.filter(kind="key", action="emptied").exists()


def test_what_only_keeps_books_is_no_change(api: Api) -> None:
    api.team()
    key = api.create("keys", team="search", name="a")
    before = len(entries_of("key")), len(entries_of("organization"))

    VirtualKey.objects.filter(pk=key["id"]).update(version=9, published_version=9)
    VirtualKey.objects.filter(pk=key["id"]).update(name="a")
    api.organization.readiness_epoch = 77
    api.organization.save()

    assert (len(entries_of("key")), len(entries_of("organization"))) == before


def test_a_column_that_is_added_later_is_recorded(api: Api, newest: Newest) -> None:
    api.team()
    change_past_django("ALTER TABLE teams_team ADD COLUMN motto text, ADD COLUMN signing_secret text")
    try:
        change_past_django("UPDATE teams_team SET motto = 'onwards', signing_secret = 'canary'")
        assert newest("team").after == {"motto": "onwards", "signing_secret": "(secret)"}
    finally:
        change_past_django("ALTER TABLE teams_team DROP COLUMN motto, DROP COLUMN signing_secret")


def test_no_secret_gets_into_the_log(api: Api, pages: Client, newest: Newest) -> None:
    api.team()
    api.provider()
    api.change("providers/openai", credential="sk-canary-of-a-provider")
    key = api.create("keys", team="search", name="a")["key"]
    hook = api.create("webhooks", url="https://hooks.example.com/services/canary-of-a-path", secret="canary of a hook!")
    api.user.set_password("canary of a password")
    api.user.save()

    text = str([(entry.before, entry.after, entry.object_name) for entry in AuditEntry.objects.all()])

    stored = VirtualKey.objects.get().digest
    for secret in ("canary", api.token, key, stored, api.user.password, hook["id"] and "sk-provider"):
        assert secret not in text
    assert newest("provider").after == {"sealed_credential": "(secret)"}
    assert newest("user").after == {"password": "(secret)"}
    assert newest("webhook").object_name == "hooks.example.com"


def test_a_change_over_the_api_is_its_users_with_token_and_reason(api: Api, newest: Newest) -> None:
    headers = {"x-bursar-reason": "Größer für den Start".encode().decode("latin-1")}
    client = Client(headers={"authorization": f"Token {api.token}", **headers})

    answer = client.post("/api/v1/teams", {"slug": "search", "name": "Search"}, content_type="application/json")

    entry = newest("team")
    assert answer["x-request-id"] == entry.request_id
    assert (entry.actor, entry.actor_id, entry.token, entry.way) == ("alice", str(api.user.pk), "tests", "api")
    assert (entry.address, entry.reason) == ("127.0.0.1", "Größer für den Start")
    too_long = client.get("/api/v1/teams", headers={"x-bursar-reason": "x" * 501})
    assert (too_long.status_code, too_long["content-type"]) == (400, "application/problem+json")
    assert "500" in too_long.json()["detail"]


def test_a_change_in_the_admin_is_its_users_with_the_reason_of_the_form(
    api: Api, pages: Client, newest: Newest
) -> None:
    api.team()
    limit = api.limit()
    path = f"/admin/budgets/limit/{limit['id']}/change/"
    assert 'name="change_reason"' in pages.get(path).content.decode()
    fields = {"name": "rpm", "amount": "700", "window_0": "1", "window_1": "60000", "active": "on"}

    post(pages, path, fields | {"change_reason": "asked by\nsupport"})

    entry = newest("limit")
    assert (entry.actor, entry.token, entry.way, entry.reason) == ("alice", "", "admin", "asked by support")
    assert entry.after["amount"] == 700


def test_what_a_task_a_command_and_nobody_change_is_theirs(api: Api, newest: Newest) -> None:
    Team.objects.bulk_create([Team(organization=api.organization, slug="raw", name="Raw")])
    nobody = newest("team")
    role = connection.settings_dict["USER"]
    assert (nobody.actor, nobody.way, nobody.database_role) == (role, "database", role)

    republish.apply()
    Team.objects.update(name="after a task")
    assert newest("team").actor == role

    done = subprocess.run(
        [sys.executable, "manage.py", "bootstrap", "--organization", "other", "--name", "Other"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = newest("organization")
    assert (made.object_name, made.actor, made.way) == ("Other", "command:bootstrap", "command")
    assert AuditEntry.objects.filter(kind="release", actor="command:bootstrap").exists()


def test_each_change_of_a_transaction_is_of_whom_made_it(api: Api) -> None:
    api.team()

    def name_as(actor: str, name: str) -> None:
        with acting_as(lambda: Acting(actor=actor, way="task")):
            Team.objects.update(name=name)

    with transaction.atomic():
        name_as("task:first", "one")
        with transaction.atomic():
            name_as("task:forgotten", "two")
            transaction.set_rollback(True)
        name_as("task:second", "three")
        Team.objects.update(name="four")

    names = [(entry.actor, entry.after["name"]) for entry in entries_of("team")[-3:]]
    assert names == [("task:first", "one"), ("task:second", "three"), (connection.settings_dict["USER"], "four")]


def test_a_role_that_is_given_is_recorded_with_whom_and_where(api: Api, newest: Newest) -> None:
    api.team()
    bob = User.objects.create_user("bob")
    membership = Membership.objects.create(
        user=bob, organization=api.organization, team=Team.objects.get(), role="member"
    )
    membership.role = "owner"
    membership.save()

    entry = newest("membership")
    assert (entry.object_name, entry.team) == ("bob in Search", "search")
    assert (entry.before, entry.after) == ({"role": "member"}, {"role": "owner"})


def test_the_log_takes_no_entry_of_another_hand_and_gives_none_up(api: Api) -> None:
    api.team()
    statements = [
        "UPDATE audit_auditentry SET actor = 'mallory'",
        "UPDATE audit_auditentry SET sequence = 7, actor = 'mallory'",
        "DELETE FROM audit_auditentry",
        """INSERT INTO audit_auditentry
        SELECT (jsonb_populate_record(e, '{"id": 0}')).* FROM audit_auditentry e LIMIT 1""",
    ]
    for statement in statements:
        with pytest.raises(DatabaseError, match="append-only"):
            change_past_django(statement)
    with pytest.raises(DatabaseError, match="append-only"):
        change_past_django("ALTER TABLE audit_auditentry ENABLE TRIGGER audit_truncate; TRUNCATE audit_auditentry")


def test_the_triggers_go_with_the_log_and_come_back_with_it(api: Api) -> None:
    count = "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE tgname LIKE 'audit\\_%'"

    def triggers() -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"{count} AND relname <> 'audit_auditentry'")
            return int(cursor.fetchone()[0])

    installed = triggers()
    assert installed == 3 * len(governed_tables())
    with transaction.atomic():
        call_command("migrate", "audit", "zero", verbosity=0)
        api.organization.name = "Nobody looks"
        api.organization.save()
        assert triggers() == 0
        call_command("migrate", "audit", verbosity=0)
        assert triggers() == installed
        change_past_django("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_truncate")
    install_triggers(using="default")
    assert triggers() == installed


def test_ten_thousand_keys_at_once_are_ten_thousand_entries(api: Api) -> None:
    api.team()
    team = Team.objects.get()

    VirtualKey.objects.bulk_create(
        [VirtualKey(id=f"{number:012}", team=team, name=str(number), digest="x") for number in range(10_000)]
    )

    assert AuditEntry.objects.filter(kind="key", action="created", team="search").count() == 10_000
