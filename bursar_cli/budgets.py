"""`bursar budgets`: list them, and change what they allow."""

from __future__ import annotations

import click

from bursar_cli.client import from_environment
from bursar_cli.output import output_option, show


@click.group()
def budgets() -> None:
    """Budgets."""


@budgets.command("list")
@output_option
def list_budgets(output: str) -> None:
    """Say which budgets there are."""
    show(from_environment().rows("budgets", {}), ["id", "name", "scope", "subject", "period", "amount_usd"], output)


@budgets.command("set")
@click.argument("budget_id")
@click.option("--amount-usd", required=True)
@click.option("--if-match", help="The ETag of what you have read; without it, of what is there now.")
def set_budget(budget_id: str, amount_usd: str, if_match: str | None) -> None:
    """Change the amount of a budget, unless somebody else changes it at the same time."""
    api = from_environment()
    before = api.get(f"budgets/{budget_id}")
    after = api.write("PATCH", f"budgets/{budget_id}", {"amount_usd": amount_usd}, if_match or before.headers["etag"])
    click.echo(f"{after['name']}: {before.json()['amount_usd']} → {after['amount_usd']} USD")
