"""The house rules: a file has at most 400 lines, a function at most 60, no module is a drawer for anything,
and Kong's hyphenated entry files import only the core. Generated migrations count as code too."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_MOST_FILE_LINES = 400
_MOST_FUNCTION_LINES = 60
_DRAWERS = frozenset(
    {"base", "common", "core", "helper", "helpers", "misc", "shared", "stuff", "tools", "util", "utils"}
)
_LUA_OPENING = re.compile(r"\b(function|if|do|repeat)\b|\b(end|until)\b")
_LUA_NOISE = re.compile(
    r"--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)


def problems(path: Path) -> Iterator[str]:
    """Everything that is wrong with one file, each as `path:line: what`."""
    text = path.read_text()
    if text.count("\n") > _MOST_FILE_LINES:
        yield f"{path}:1: {text.count(chr(10))} lines, at most {_MOST_FILE_LINES}"
    if path.stem.removeprefix("test_") in _DRAWERS:
        yield f"{path}:1: name the module after what it holds, not {path.stem!r}"
    functions = _python_functions(text) if path.suffix == ".py" else _lua_functions(text)
    for name, line, lines in functions:
        if lines > _MOST_FUNCTION_LINES:
            yield f"{path}:{line}: {name} has {lines} lines, at most {_MOST_FUNCTION_LINES}"
    if path.parent.name == "kong_plugins" and path.suffix == ".py":
        yield from _foreign_imports(path, ast.parse(text))


def _python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def _lua_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Lua blocks are closed in the order in which they were opened; `while` and `for` are opened by their `do`."""
    code = _LUA_NOISE.sub(lambda noise: "\n" * noise.group().count("\n"), text)
    opened: list[tuple[str, int]] = []
    for word in _LUA_OPENING.finditer(code):
        line = code.count("\n", 0, word.start()) + 1
        if word.group(1):
            opened.append((word.group(1), line))
        elif opened:
            kind, start = opened.pop()
            if kind == "function":
                yield "function", start, line - start + 1


def _foreign_imports(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        else:
            continue
        for name in names:
            if name != "kong_plugins.llm" and not name.startswith("kong_plugins.llm."):
                yield f"{path}:{node.lineno}: an entry file imports only kong_plugins.llm, not {name}"


def _checked_files() -> Iterator[Path]:
    """Every Python and Lua file that is tracked, or new and not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.lua"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return (path for path in map(Path, listing.splitlines()) if path.exists())


def main() -> None:
    paths = sorted(_checked_files())
    found = [problem for path in paths for problem in problems(path)]
    for problem in found:
        sys.stdout.write(problem + "\n")
    sys.stdout.write(f"house rules: {len(paths)} files, {len(found)} problems\n")
    # A check that has found nothing to check has not been made.
    sys.exit(1 if found or not paths else 0)


if __name__ == "__main__":
    main()
