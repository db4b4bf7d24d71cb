"""What the repository tells Kong: the guard's schema, and the route that it stands on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.guard.gateway import Exchange, Kong, runtime, to_python

KONG_YML = Path(__file__).parents[2] / "kong.yml"


def guard_schema() -> dict[str, Any]:
    lua = runtime()
    lua.execute("package.preload['kong.db.schema.typedefs'] = function() return { no_consumer = { eq = false } } end")
    schema: dict[str, Any] = to_python(lua.eval("require('kong.plugins.llm-guard.schema')"))
    return schema


def dialects() -> list[str]:
    (config,) = (field["config"] for field in guard_schema()["fields"] if "config" in field)
    (protocol,) = (field["protocol"] for field in config["fields"] if "protocol" in field)
    named: list[str] = protocol["one_of"]
    return named


def test_the_guard_can_refuse_in_every_dialect_that_its_schema_allows() -> None:
    for dialect in dialects():
        exchange = Exchange(Kong(dialect))
        exchange.access()
        assert "policy_unavailable" in json.dumps(json.loads(exchange["refusal"]["body"]))


@pytest.mark.parametrize("dialect", ["bedrock_converse", "bedrock_invoke"])
def test_aws_s_sdks_read_the_kind_of_a_refusal_in_a_header(dialect: str) -> None:
    exchange = Exchange(Kong(dialect))
    exchange.access()

    headers = exchange["refusal"]["headers"]
    assert (headers["x-amzn-errortype"], headers["x-amz-retry-after"]) == ("ServiceUnavailableException", "1000")


def test_the_guard_cannot_be_bound_to_a_consumer() -> None:
    assert {"consumer": {"eq": False}} in guard_schema()["fields"]


def test_kong_yml_leads_nowhere_without_a_grant() -> None:
    (service,) = yaml.safe_load(KONG_YML.read_text())["services"]
    names = {route["name"]: [plugin["name"] for plugin in route["plugins"]] for route in service["routes"]}
    calls = [route for route in service["routes"] if "llm-token-meter" in names[route["name"]]]
    questions = [route for route in service["routes"] if route not in calls]

    assert service["url"].endswith("//bursar.invalid")
    assert service["retries"] == 0
    assert {route["plugins"][2]["config"]["protocol"] for route in calls} == set(dialects())
    for route in calls:
        assert route["response_buffering"] is False
        assert names[route["name"]] == ["llm-key-auth", "llm-rate-limit", "llm-guard", "llm-token-meter"]
        assert len({plugin.get("config", {}).get("protocol", "openai_chat") for plugin in route["plugins"][:3]}) == 1
    for question in questions:
        assert names[question["name"]] == ["llm-key-auth", "llm-rate-limit", "llm-guard"]
        assert question["plugins"][1]["config"]["answers"] in ("estimates", "limits", "models")
