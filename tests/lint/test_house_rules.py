"""The house rules find what they are there for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lint.house_rules import problems


def _found(folder: Path, name: str, text: str) -> list[str]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return [problem.removeprefix(f"{path}:") for problem in problems(path)]


def test_a_file_may_have_400_lines_and_no_more(tmp_path: Path) -> None:
    assert _found(tmp_path, "prices.py", "x = 1\n" * 400) == []
    assert _found(tmp_path, "prices.py", "x = 1\n" * 401) == ["1: 401 lines, at most 400"]


def test_a_function_may_have_60_lines_and_no_more(tmp_path: Path) -> None:
    body = "    x = 1\n"
    assert _found(tmp_path, "prices.py", "def price():\n" + body * 59) == []
    assert _found(tmp_path, "prices.py", "async def price():\n" + body * 60) == ["1: price has 61 lines, at most 60"]


@pytest.mark.parametrize("opening", ["local function price()", "prices.of = function(model)"])
def test_a_lua_function_is_measured_whatever_stands_inside(tmp_path: Path, opening: str) -> None:
    blocks = (
        "  for i = 1, 2 do if i then x() elseif y then z() end end\n"
        "  repeat local word = 'end' -- function\n  until done\n"
        '  while true do local said = "if \\" then" end\n'
        "  --[[ function\n  end ]]\n"
    )
    short, long = "  x()\n" * 40, "  x()\n" * 60
    assert _found(tmp_path, "price.lua", f"{opening}\n{blocks}{short}end\n") == []
    assert _found(tmp_path, "price.lua", f"\n{opening}\n{blocks}{long}end\n") == [
        "2: function has 68 lines, at most 60"
    ]


@pytest.mark.parametrize("name", ["utils.py", "helpers.py", "test_common.py", "misc.lua"])
def test_a_module_is_named_after_what_it_holds(tmp_path: Path, name: str) -> None:
    (problem,) = _found(tmp_path, name, "")
    assert "name the module after what it holds" in problem


def test_an_entry_file_imports_only_the_core(tmp_path: Path) -> None:
    text = "import kong_plugins.llm.pdk\nfrom kong_plugins.llm import keys\n"
    assert _found(tmp_path, "kong_plugins/llm-key-auth.py", text) == []
    found = _found(tmp_path, "kong_plugins/llm-key-auth.py", text + "from kong_plugins.pluginserver import server\n")
    assert found == ["3: an entry file imports only kong_plugins.llm, not kong_plugins.pluginserver"]
