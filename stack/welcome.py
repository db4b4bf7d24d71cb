"""What `make run` says once everything answers: where things are, and two calls that work as printed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, Final

_MODEL: Final = "gpt-4o-mini"
_CLAUDE: Final = "claude-haiku-4-5"
_KEY: Final = "support-copilot-prod"

_TEXT = """\

Bursar is running. Stop it with Ctrl-C.

{places}

One call with curl:

curl {gateway}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'

The same with the OpenAI SDK, only its base URL is changed:

{python} - <<'END'
from openai import OpenAI

client = OpenAI(base_url="{gateway}/v1", api_key="{key}")
for chunk in client.chat.completions.create(
    model="{model}", messages=[{{"role": "user", "content": "Hello"}}], stream=True
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
END

Anthropic's SDK finds {claude} at {gateway} (without /v1), with the same key.

What they cost:  curl -H 'Authorization: Token {api_token}' '{control_plane}/api/v1/spend?group_by=team'
Mixed traffic:   make traffic
"""


def welcome(ready: dict[str, Any], *, run: Path) -> str:
    """The text for a system that `ready.json` describes so."""
    admin = ready["admin"]
    places = [
        ("gateway", f"{ready['gateway']}/v1", f"for any OpenAI SDK, with a key of {run / 'ready.json'}"),
        ("control plane", f"{ready['control_plane']}/admin/", f"{admin['username']} / {admin['password']}"),
        ("REST API", f"{ready['control_plane']}/api/v1/", f"Authorization: Token {ready['api_token']}"),
        ("Kong admin", ready["kong_admin"], ""),
        ("provider", f"{ready['provider']}/_books", "what the simulated provider has billed"),
        ("logs", str(run / "logs"), "one file a program"),
    ]
    width = max(len(place) for _, place, _ in places)
    return _TEXT.format(
        places="\n".join(f"  {name:<15}{place:<{width}}  {note}".rstrip() for name, place, note in places),
        gateway=ready["gateway"],
        control_plane=ready["control_plane"],
        api_token=ready["api_token"],
        key=ready["keys"][_KEY],
        model=_MODEL,
        claude=_CLAUDE,
        body=f'{{"model": "{_MODEL}", "messages": [{{"role": "user", "content": "Hello"}}]}}',
        python=shlex.quote(_python()),
    )


def _python() -> str:
    """This interpreter, by the short name that works in the folder where `make run` was typed."""
    executable = Path(sys.executable)
    return str(executable.relative_to(Path.cwd())) if executable.is_relative_to(Path.cwd()) else str(executable)
