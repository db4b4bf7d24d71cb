"""`bursar spend`: what was spent, by anything."""

from __future__ import annotations

import click

from bursar_cli.client import from_environment
from bursar_cli.output import show


@click.command()
@click.option("--by", required=True, help="Any of team, key, user, model, provider, tag, day, hour, with commas.")
@click.option("--from", "since", help="Inclusive: a day, or an instant with its offset.")
@click.option("--to", "until", help="Exclusive.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def spend(by: str, since: str | None, until: str | None, form: str) -> None:
    """Say what was spent."""
    query = {"group_by": by}
    if since:
        query["from"] = since
    if until:
        query["to"] = until
    if form == "csv":
        click.echo(from_environment().get("spend", query | {"format": "csv"}).text, nl=False)
        return
    rows = from_environment().get("spend", query).json()
    show(rows, [*by.split(","), "requests", "amount_usd"], form)
