"""`bursar` on the control plane over real HTTP."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from pytest_django.live_server_helper import LiveServer

from bursar_cli.main import main
from control_plane.keys.models import VirtualKey
from tests.control_plane.cast import Api, environment


class Shell:
    def __init__(self, url: str, token: str) -> None:
        self._environment = environment(BURSAR_URL=url, BURSAR_TOKEN=token)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=self._environment)


@pytest.fixture
def shell(api: Api, live_server: LiveServer) -> Shell:
    return Shell(live_server.url, api.token)


def test_a_key_is_issued_listed_rotated_and_revoked(api: Api, shell: Shell) -> None:
    api.team()
    [issued] = json.loads(shell.run("keys", "issue", "--team=search", "--name=ranking", "--output=json").output)
    assert issued["key"].startswith("bsr_")
    listed = shell.run("keys", "list", "--team=search").output
    assert issued["id"] in listed
    assert issued["key"] not in listed
    [rotated] = json.loads(shell.run("keys", "rotate", issued["id"], "--output=json").output)
    assert rotated["key"] != issued["key"]
    assert shell.run("keys", "revoke", issued["id"]).exit_code == 0
    assert VirtualKey.objects.get().state == "revoked"


def test_a_list_of_several_pages_is_read_to_its_end(api: Api, shell: Shell) -> None:
    api.team()
    for number in range(101):
        api.create("keys", team="search", name=f"key {number}")
    assert len(json.loads(shell.run("keys", "list", "--output=json").output)) == 101


def test_of_two_editors_of_a_budget_the_second_is_told_of_the_conflict(api: Api, shell: Shell) -> None:
    api.team()
    budget = api.create("budgets", name="Monthly", scope="team", subject="search", period="month", amount_usd="100.00")
    budget_id = str(budget["id"])
    read = api.call("GET", f"budgets/{budget_id}")["etag"]
    first = shell.run("budgets", "set", budget_id, "--amount-usd=150.00")
    assert first.exit_code == 0, first.output
    second = shell.run("budgets", "set", budget_id, "--amount-usd=90.00", "--if-match", read)
    assert second.exit_code == 3
    assert "Conflict" in second.output
    assert "150" in api.get(f"budgets/{budget_id}")["amount_usd"]
    assert budget_id in shell.run("budgets", "list").output


def test_what_was_spent_comes_as_table_json_or_csv(shell: Shell) -> None:
    assert shell.run("spend", "--by=team,model").output.split() == ["team", "model", "requests", "amount_usd"]
    assert json.loads(shell.run("spend", "--by=team", "--format=json").output) == []
    assert shell.run("spend", "--by=team", "--format=csv").output.startswith("team,")


def test_a_refusal_names_the_field_and_never_the_token(api: Api, shell: Shell) -> None:
    refused = shell.run("keys", "issue", "--team=nobody", "--name=x")
    assert refused.exit_code == 1
    assert "team: " in refused.output
    assert api.token not in refused.output
    assert Shell("", "").run("budgets", "list").exit_code == 2
