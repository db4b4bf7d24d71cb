"""`bursar keys`: issue, list, rotate and revoke virtual keys."""

from __future__ import annotations

import click

from bursar_cli.client import from_environment
from bursar_cli.output import output_option, show


@click.group()
def keys() -> None:
    """Virtual keys."""


@keys.command("list")
@click.option("--team")
@output_option
def list_keys(team: str | None, output: str) -> None:
    """Say which keys there are; never their secrets."""
    show(from_environment().rows("keys", {"team": team} if team else {}), ["id", "team", "name", "state"], output)


@keys.command()
@click.option("--team", required=True)
@click.option("--name", required=True)
@output_option
def issue(team: str, name: str, output: str) -> None:
    """Issue a key. Its secret is in this one answer and nowhere else."""
    show([from_environment().write("POST", "keys", {"team": team, "name": name})], ["id", "name", "key"], output)


@keys.command()
@click.argument("key_id")
@output_option
def rotate(key_id: str, output: str) -> None:
    """Give a key a new secret."""
    show([from_environment().write("POST", f"keys/{key_id}/rotate", {})], ["id", "name", "key"], output)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End a key at once."""
    from_environment().write("POST", f"keys/{key_id}/revoke", {})
    click.echo(f"revoked {key_id}")
