"""Bursar's plugins are ordinary plugins: kong-pdk's own server loads them, and describes them as ours does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pluginserver.conftest import COMMAND

PLUGIN_DIRECTORY = Path(__file__).parents[2] / "kong_plugins"
PLUGINS = {"llm-key-auth": (["access"], 1005), "llm-rate-limit": (["access"], 900), "llm-token-meter": (["log"], 10)}


@pytest.fixture(scope="module")
def stock_descriptions() -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("kong-python-pluginserver")), "-d", str(PLUGIN_DIRECTORY)]
    result = subprocess.run([*command, "--dump-all-plugins"], env={}, capture_output=True, text=True, check=True)
    return {description["Name"]: description for description in json.loads(result.stdout)}


def test_the_stock_server_finds_exactly_these_plugins(stock_descriptions: dict[str, Any]) -> None:
    assert {name: (it["Phases"], it["Priority"]) for name, it in stock_descriptions.items()} == PLUGINS


@pytest.mark.parametrize("plugin", PLUGINS)
def test_kong_is_told_the_same_by_our_server_without_any_setting(
    stock_descriptions: dict[str, Any], plugin: str
) -> None:
    result = subprocess.run([COMMAND, plugin, "--dump"], env={}, capture_output=True, text=True, check=True)

    assert json.loads(result.stdout) == [stock_descriptions[plugin]]
