"""The rest of the demo's company (`company.json`): more teams, their budgets as they stand, and a month of calls.

Budgets are made so that each stands where `company.json` says, on whatever day the system starts first.
"""

from __future__ import annotations

import json
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx

from demo.history import Company, Key, month_so_far_nusd, rounded_cap_nusd, write_lines
from demo.seed import Seeding

_ALL: Final = {"page_size": "1000"}
_NUSD_PER_USD: Final = 1_000_000_000


def seed_company(
    *, control_plane_url: str, api_token: str, password: str, known_keys: dict[str, str], history: Path
) -> tuple[dict[str, str], int]:
    """Make what is missing; return the keys by name, and how many past calls were written to `history`, which is done
    only where the ledger has none at all. All its people log in with the same `password`.

    Raises:
        SeedError: the control plane refused something.
    """
    data = json.loads(files("demo").joinpath("company.json").read_bytes())
    headers = {"authorization": f"Token {api_token}"}
    with httpx.Client(base_url=f"{control_plane_url}/api/v1", headers=headers, timeout=30) as client:
        seeding = Seeding(client)
        _seed_teams(seeding, data)
        _seed_people(seeding, data, password)
        keys = seeding.keys(data["keys"], known_keys)
        if seeding.call("GET", "/events", params={"page_size": "1"})["results"]:
            return keys, 0
        return keys, _seed_history(seeding, data, history)


def _seed_teams(seeding: Seeding, data: dict[str, Any]) -> None:
    known = {row["slug"] for row in seeding.call("GET", "/departments", params=_ALL)["results"]}
    for department in data["departments"]:
        if department["slug"] not in known:
            seeding.call("POST", "/departments", json=department)
    for team in data["teams"]:
        seeding.ensure("teams", {"slug": team["slug"]}, team)
    for slug, place in data["places"].items():
        seeding.fill("teams", slug, place)
    for model, lesser in data["degrade"].items():
        seeding.fill("models", model, {"degrade_to": lesser})
    for limit in data["limits"]:
        seeding.ensure("limits", {"name": limit["name"]}, limit)


def _seed_people(seeding: Seeding, data: dict[str, Any], password: str) -> None:
    known = {row["username"] for row in seeding.call("GET", "/people", params=_ALL)["results"]}
    for person in data["people"]:
        if person["username"] not in known:
            first, last = person["username"].title().split(".")
            fields = person | {"first_name": first, "last_name": last, "password": password}
            seeding.call("POST", "/people", json=fields)


def _seed_history(seeding: Seeding, data: dict[str, Any], history: Path) -> int:
    company = _company(seeding, data)
    expected = month_so_far_nusd(company)
    for budget in data["budgets"]:
        cap_nusd = rounded_cap_nusd(expected[budget["team"]], budget["used_percent"])
        _seed_budget(seeding, data, budget, cap_nusd)
        if degrade_at_percent := budget.get("degrade_at_percent"):
            company.degrade_from_nusd[budget["team"]] = cap_nusd * degrade_at_percent // 100
    for row in seeding.call("GET", "/budgets", params=_ALL)["results"]:
        if (row["scope"], row["period"], row["unit"]) == ("team", "month", "nusd"):
            company.caps_nusd[row["subject"]] = row["amount"]
    with history.open("w") as lines:
        return sum(1 for line in write_lines(company) if lines.write(line))


def _seed_budget(seeding: Seeding, data: dict[str, Any], budget: dict[str, Any], cap_nusd: int) -> None:
    names = {team["slug"]: team["name"] for team in data["teams"]}
    name = f"{names[budget['team']]}, monthly"
    fields = {
        "name": name,
        "scope": "team",
        "subject": budget["team"],
        "period": "month",
        "amount_usd": f"{cap_nusd // _NUSD_PER_USD}.00",
        "degrade_at_percent": budget.get("degrade_at_percent"),
    }
    seeding.ensure("budgets", {"name": name}, fields)


def _company(seeding: Seeding, data: dict[str, Any]) -> Company:
    organization = seeding.call("GET", "/organization")
    now = datetime.now(ZoneInfo(organization["time_zone"]))
    tiers = {row["slug"]: row["tier"] for row in seeding.call("GET", "/teams", params=_ALL)["results"]}
    keys = {
        row["name"]: Key(id=row["id"], team=row["team"], tier=tiers[row["team"]], tags=tuple(row["tags"]))
        for row in seeding.call("GET", "/keys", params=_ALL)["results"]
        if row["active"]
    }
    deployments: dict[str, tuple[str, str]] = {}
    for row in seeding.call("GET", "/deployments", params=_ALL)["results"]:
        deployments.setdefault(row["model"], (str(row["id"]), row["provider"]))
    return Company(
        organization=organization["slug"],
        now=now,
        month_start=now.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
        traffic=data["traffic"],
        users=data["users"],
        keys=keys,
        deployments=deployments,
        degrade=data["degrade"],
    )
