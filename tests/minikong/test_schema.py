"""Plugin schemas: defaults filled in, values checked, and schemas beyond minikong refused."""

from __future__ import annotations

from typing import Any

import pytest

from minikong.errors import ConfigurationError, PluginError
from minikong.lua_runtime import Lua
from minikong.schema import PluginSchema


def schema(*fields: dict[str, Any]) -> PluginSchema:
    return PluginSchema("p", [{"config": {"type": "record", "fields": list(fields)}}], Lua("").find)


def test_defaults_are_filled_in_to_any_depth() -> None:
    checked = schema(
        {"word": {"type": "string", "default": "hello"}},
        {"list": {"type": "array", "elements": {"type": "integer"}, "default": [1]}},
        {"redis": {"type": "record", "required": True, "fields": [{"port": {"type": "integer", "default": 6379}}]}},
        {"other": {"type": "record", "fields": [{"port": {"type": "integer", "default": 1}}]}},
        {"nothing": {"type": "string"}},
    )
    assert checked.complete(None) == {"word": "hello", "list": [1], "redis": {"port": 6379}}
    assert checked.complete({"other": {}})["other"] == {"port": 1}


@pytest.mark.parametrize(
    ("definition", "value", "complaint"),
    [
        ({"type": "string", "required": True}, None, "required field missing"),
        ({"type": "string"}, 7, "expected string"),
        ({"type": "integer"}, 1.5, "expected integer"),
        ({"type": "integer"}, True, "expected integer"),
        ({"type": "string", "one_of": ["a", "b"]}, "c", "one_of"),
        ({"type": "string", "not_one_of": ["a"]}, "a", "not_one_of"),
        ({"type": "number", "between": [0, 1]}, 1.5, "between"),
        ({"type": "integer", "gt": 0}, 0, "gt"),
        ({"type": "string", "len_min": 2}, "a", "len_min"),
        ({"type": "string", "match": "^%d+$"}, "12a", "match"),
        ({"type": "array", "elements": {"type": "string"}}, ["a", 1], "expected string"),
        ({"type": "map", "values": {"type": "integer"}}, {"a": "b"}, "expected integer"),
        ({"type": "record", "fields": [{"a": {"type": "string"}}]}, {"b": 1}, "unknown field b"),
        ({"type": "string", "referenceable": True}, "{vault://env/x}", "resolves no vault references"),
    ],
)
def test_a_value_that_does_not_fit_is_named(definition: dict[str, Any], value: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        schema({"field": definition}).complete({"field": value})
    assert "config.field" in str(caught.value)


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "string", "custom_validator": "f"},
        {"type": "foreign", "reference": "x"},
        {"type": "array", "elements": {"type": "string", "uuid": True}},
    ],
)
def test_a_schema_beyond_minikong_is_refused_when_the_plugin_is_loaded(definition: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="minikong does not do"):
        schema({"field": definition})


def test_a_plugin_may_forbid_scopes() -> None:
    fields = [{"consumer": {"type": "foreign", "reference": "consumers"}}, {"protocols": {"type": "set"}}]
    assert PluginSchema("p", fields, Lua("").find).forbidden_scopes == {"consumer"}
