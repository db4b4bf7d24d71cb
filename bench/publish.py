"""How long a large organization takes to come to an empty Redis, and whether a revoked key is refused at once."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx

from bench.results import publish
from stack.programs import python
from stack.system import Stack

_TEAMS, _KEYS = 10_000, 100_000
_REQUEST: Final = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
_TIMEOUT_S: Final = 900


def main() -> int:
    """Print the table; 1 where a key is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m bench.publish", description=__doc__)
    parser.add_argument("--teams", type=int, default=_TEAMS)
    parser.add_argument("--keys", type=int, default=_KEYS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bursar-bench-") as folder, Stack(Path(folder)) as stack:
        measured = _measure(stack, options.teams, options.keys)
        statuses = _revoke(stack, measured)
    publish(
        "bench-publish",
        [
            {
                "teams": options.teams,
                "keys": options.keys,
                "publish_s": measured["publish_s"],
                "rebuild_s": measured["rebuild_s"],
                "keys_behind": measured["behind"],
                "status_before_revoking": statuses[0],
                "status_of_next_request": statuses[1],
            }
        ],
    )
    return 0 if measured["behind"] == 0 and statuses == (200, 401) else 1


def _measure(stack: Stack, teams: int, keys: int) -> dict[str, Any]:
    """Run the program that makes the rows and publishes them."""
    done = subprocess.run(
        [*python("-m", "bench.large_organization"), str(teams), str(keys)],
        env=dict(stack.control_plane_environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2_000:])
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _revoke(stack: Stack, measured: dict[str, Any]) -> tuple[int, int]:
    """The statuses of a call with one of the keys before and right after it was revoked over the REST API."""
    gateway, control_plane = stack.ready["gateway"], stack.ready["control_plane"]
    headers = {"authorization": f"Bearer {measured['key']}"}
    with httpx.Client(timeout=60) as client:
        before = client.post(f"{gateway}/v1/chat/completions", json=_REQUEST, headers=headers)
        revoked = client.post(
            f"{control_plane}/api/v1/keys/{measured['key_id']}/revoke",
            headers={"authorization": f"Token {stack.ready['api_token']}"},
        )
        revoked.raise_for_status()
        after = client.post(f"{gateway}/v1/chat/completions", json=_REQUEST, headers=headers)
    return before.status_code, after.status_code


if __name__ == "__main__":
    sys.exit(main())
