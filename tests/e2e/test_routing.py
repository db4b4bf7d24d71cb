"""docs/routing.md, its commands run as they stand on a system with the demo's teams, and what callers then get."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from openai import OpenAI, PermissionDeniedError

from tests.documents import CONTROL_PLANE, follow, shell_blocks
from tests.e2e.system import System, eventually

QUESTION: Final[Any] = [{"role": "user", "content": "Hello there"}]


def follow_the_document(system: System) -> list[dict[str, Any]]:
    """What all shell blocks of the document, one after the other in one shell, are answered."""
    at_home = {CONTROL_PLANE: system.ready["control_plane"]}
    environment = {**os.environ, "BURSAR_TOKEN": system.ready["api_token"]}
    printed = follow("\n".join(shell_blocks("routing.md")), at_home, environment)
    return [json.loads(line) for line in printed.splitlines()]


def put_back(system: System) -> None:
    """Leave nothing of the document's rules to the other tests of this system."""
    for kind in ("aliases", "deployments?provider=azure-eu"):
        for row in system.api.get(f"/api/v1/{kind}").raise_for_status().json()["results"]:
            system.change(f"/api/v1/{kind.partition('?')[0]}/{row['id']}", active=False)
    system.change("/api/v1/models/gpt-4.1", fall_back_to=[], degrade_to=[])
    system.change("/api/v1/organization", tier_models={})
    for team in ("search", "customer-support"):
        system.change(f"/api/v1/teams/{team}", providers=None, preferred_providers=[], regions=None)


@pytest.fixture(scope="module")
def reader(system: System) -> Iterator[System]:
    """The system, once somebody has followed the document."""
    answers = follow_the_document(system)
    assert [answer.get("name") for answer in answers[:3]] == ["fast", "best", "best"]
    yield system
    put_back(system)


def sdk(system: System, key: str) -> OpenAI:
    base_url = f"{system.gateway}/v1"
    return system.closing(OpenAI(base_url=base_url, api_key=system.ready["keys"][key], max_retries=0, timeout=60))


def asked(system: System, key: str, model: str) -> dict[str, Any]:
    """What would become of a call, which is not made."""
    headers = {"authorization": f"Bearer {system.ready['keys'][key]}", "x-bursar-dry-run": "1"}
    body = {"model": model, "max_tokens": 5, "messages": QUESTION}
    answer: dict[str, Any] = httpx.post(
        f"{system.gateway}/v1/chat/completions", json=body, headers=headers, timeout=60
    ).json()
    return answer


def test_an_alias_is_served_and_accounted_as_the_model_that_it_stands_for(reader: System) -> None:
    client = sdk(reader, "support-copilot-prod")

    answer = client.chat.completions.with_raw_response.create(model="fast", max_tokens=5, messages=QUESTION)

    assert answer.headers["x-bursar-model"] == "simulator/gpt-4o-mini"
    assert "x-bursar-degraded-from" not in answer.headers
    path = f"/api/v1/events?request_id={answer.headers['x-bursar-request-id']}"
    [row] = eventually(
        lambda: reader.api.get(path).raise_for_status().json()["results"], within_s=20, what="the call in the ledger"
    )
    assert (row["request_model"], row["degraded_from"]) == ("gpt-4o-mini", None)


def test_the_sdk_lists_the_aliases_that_its_key_can_reach(reader: System) -> None:
    listed = {
        key: {model.id for model in sdk(reader, key).models.list()}
        for key in ("support-copilot-prod", "search-ranking-prod", "marketing-lab")
    }

    assert {"fast", "best", "gpt-4.1"} <= listed["support-copilot-prod"]
    assert listed["search-ranking-prod"] == {"best", "gpt-4o"}
    assert listed["marketing-lab"] == {"fast", "gpt-4o-mini"}


def test_each_team_has_its_own_meaning_and_its_own_providers(reader: System) -> None:
    of_search, of_support = asked(reader, "search-ranking-prod", "best"), asked(reader, "support-copilot-prod", "best")

    assert (of_search["model"], of_search["provider"]) == ("gpt-4o", "azure-eu")
    assert (of_support["model"], of_support["provider"]) == ("gpt-4.1", "simulator")


@pytest.mark.parametrize(
    ("key", "model", "words"),
    [
        ("search-ranking-prod", "fast", "Your data must stay in francecentral or westeurope"),
        ("search-ranking-prod", "gpt-4.1", "Your team may not use the model 'gpt-4.1'."),
        ("marketing-lab", "gpt-4.1-nano", "A key of the tier experimental may not use the model 'gpt-4.1-nano'."),
        ("support-copilot-staging", "best", "This key may not use the model 'gpt-4.1' (for which 'best' stands)."),
    ],
)
def test_a_call_that_a_rule_leaves_nothing_is_told_which(reader: System, key: str, model: str, words: str) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        sdk(reader, key).chat.completions.create(model=model, max_tokens=5, messages=QUESTION)

    assert caught.value.code == "model_not_allowed"
    assert words in caught.value.message
    assert asked(reader, key, model)["refusal"]["code"] == "model_not_allowed"
