"""Puts the demo's data (`seed.json`, `models.json`) into a control plane through its REST API.

Idempotent: what is there by its name stays as somebody may have changed it; only the provider's address follows
the simulator, and a demo key that no longer works, or that nobody knows any more, gives its name to a new one.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import httpx
import msgspec

from demo.catalog import DemoModel, demo_models


class SeedError(Exception):
    """The control plane refused something; the message has its own words."""


def seed(*, control_plane_url: str, api_token: str, provider_url: str, known_keys: dict[str, str]) -> dict[str, str]:
    """Make everything that is missing; return the demo's virtual keys by name, those of `known_keys` where they work.

    `provider_url` is the simulator's, without /v1.

    Raises:
        SeedError: the control plane refused something.
    """
    data = json.loads(files("demo").joinpath("seed.json").read_bytes())
    headers = {"authorization": f"Token {api_token}"}
    with httpx.Client(base_url=f"{control_plane_url}/api/v1", headers=headers, timeout=30) as client:
        seeding = Seeding(client)
        for model in demo_models():
            provider = data["provider"] | {"name": _provider_name(data["provider"]["name"], model.base_path)}
            seeding.provider(provider, provider_url + model.base_path)
            seeding.model(model, provider["name"])
        for team in data["teams"]:
            seeding.ensure("teams", {"slug": team["slug"]}, team)
        for kind in ("budgets", "limits"):
            for row in data[kind]:
                seeding.ensure(kind, {"name": row["name"]}, row)
        return seeding.keys(data["keys"], known_keys)


def _provider_name(name: str, base_path: str) -> str:
    """A provider has one base URL, so it stands in the catalogue once for each."""
    return name if base_path == "/v1" else name + base_path.replace("/", "-")


class Seeding:
    """The REST API of a control plane, as one puts things in that may be there already."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ensure(self, kind: str, name: dict[str, str], fields: dict[str, Any]) -> dict[str, Any]:
        """The row with this name, made of these fields if it is not there."""
        found = self.call("GET", f"/{kind}", params=name)["results"]
        row: dict[str, Any] = found[0] if found else self.call("POST", f"/{kind}", json=fields)
        return row

    def fill(self, kind: str, name: str, fields: dict[str, Any]) -> None:
        """Set the fields of a row that are empty still."""
        row = self.call("GET", f"/{kind}/{name}")
        if missing := {field: value for field, value in fields.items() if not row[field]}:
            self.call("PATCH", f"/{kind}/{name}", json=missing)

    def provider(self, provider: dict[str, str], base_url: str) -> None:
        row = self.ensure("providers", {"name": provider["name"]}, provider | {"base_url": base_url})
        if row["base_url"] != base_url:
            self.call("PATCH", f"/providers/{provider['name']}", json={"base_url": base_url})

    def model(self, model: DemoModel, provider: str) -> None:
        """A model and the provider's deployments of it, one for each way of asking, at the provider's own price."""
        fields = msgspec.to_builtins(model)
        del fields["base_path"]
        price, protocols, _snapshot = fields.pop("price"), fields.pop("protocols"), fields.pop("snapshot")
        self.ensure("models", {"name": model.name}, fields)
        for protocol in protocols:
            served = {"model": model.name, "provider": provider, "protocol": protocol}
            self.ensure("deployments", served, served | {"provider_model": model.name, "price": price})

    def keys(self, rows: list[dict[str, Any]], known_keys: dict[str, str]) -> dict[str, str]:
        return {row["name"]: self.key(row, known_keys.get(row["name"])) for row in rows}

    def key(self, fields: dict[str, Any], known: str | None) -> str:
        """A key of this name that works and that somebody knows."""
        found = self.call("GET", "/keys", params={"team": fields["team"], "name": fields["name"]})["results"]
        if found and known is not None and found[0]["active"] and f"_{found[0]['id']}_" in known:
            return known
        if found:
            self._retire(found[0])
        key: str = self.call("POST", "/keys", json=fields)["key"]
        return key

    def _retire(self, key: dict[str, Any]) -> None:
        self.call("POST", f"/keys/{key['id']}/revoke")
        self.call("PATCH", f"/keys/{key['id']}", json={"name": f"{key['name']} {key['id']}"})

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._client.request(method, path, **arguments)
        if answer.is_error:
            raise SeedError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()
