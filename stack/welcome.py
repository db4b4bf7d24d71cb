"""What `make run` says once everything answers: where things are, and two calls that work as printed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, Final

_MODEL: Final = "gpt-4o-mini"
_KEY: Final = "support-copilot-prod"

_TEXT = """\

Bursar is running. Stop it with Ctrl-C.

  gateway        {gateway}/v1             any OpenAI SDK, with one of the keys in {ready_file}
  control plane  {control_plane}/admin/   {username} / {password}
  REST API       {control_plane}/api/v1/  Authorization: Token {api_token}
  Kong admin     {kong_admin}
  provider       {provider}/_books        what the simulated provider has billed
  logs           {logs}

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

What they cost:  curl -H 'Authorization: Token {api_token}' '{control_plane}/api/v1/spend?group_by=team'
Mixed traffic:   make traffic
"""


def welcome(ready: dict[str, Any], *, run: Path) -> str:
    """The text for a system that `ready.json` describes so."""
    return _TEXT.format(
        **{name: ready[name] for name in ("gateway", "control_plane", "kong_admin", "provider", "api_token")},
        **ready["admin"],
        key=ready["keys"][_KEY],
        model=_MODEL,
        body=f'{{"model": "{_MODEL}", "messages": [{{"role": "user", "content": "Hello"}}]}}',
        python=shlex.quote(sys.executable),
        ready_file=run / "ready.json",
        logs=run / "logs",
    )
