"""The entry of `bursar`. Exit codes: 0 done, 1 refused, 2 wrongly called, 3 conflict, 4 no answer."""

from __future__ import annotations

import click

from bursar_cli.budgets import budgets
from bursar_cli.keys import keys
from bursar_cli.spend import spend


@click.group()
def main() -> None:
    """Keys, spend and budgets of Bursar, by the API at BURSAR_URL with the token in BURSAR_TOKEN."""


main.add_command(keys)
main.add_command(spend)
main.add_command(budgets)
