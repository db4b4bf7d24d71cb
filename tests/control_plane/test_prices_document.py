"""docs/prices.md, its commands run as they stand."""

from __future__ import annotations

import sys
from typing import Final

from pytest_django.live_server_helper import LiveServer

from control_plane.catalog.listed_prices import SOURCE
from control_plane.catalog.models import Discount, Price
from tests.control_plane.cast import Api, environment
from tests.documents import CONTROL_PLANE, REPOSITORY, follow, shell_blocks

DOCUMENT: Final = REPOSITORY / "docs" / "prices.md"


def test_who_follows_the_document_has_list_prices_an_own_one_and_discounts(api: Api, live_server: LiveServer) -> None:
    at_home = {CONTROL_PLANE: live_server.url, "python manage.py": f"{sys.executable} manage.py"}
    commands = "\n".join(shell_blocks("prices.md"))
    assert all(theirs in commands for theirs in at_home)
    printed = follow(commands, at_home, environment(BURSAR_TOKEN=api.token))

    assert SOURCE in DOCUMENT.read_text()
    assert f"3 rows to add to the price book, of {SOURCE}" in printed
    assert f"3 rows added to the price book, of {SOURCE}" in printed
    assert f"{api.organization.slug}: 0 corrections" in printed
    assert list(Price.objects.values_list("source", flat=True)) == ["manual", SOURCE, SOURCE, SOURCE]
    assert Discount.objects.count() == 2
    [deployment] = api.policy().deployments
    assert deployment.price is not None
    assert deployment.price.input_nusd == 1_250_000_000 * 7 // 8
    own, discounted = deployment.later_prices
    assert own.price.rates("priority", 1).output_nusd == 19_200_000_000 * 7 // 8
    assert discounted.price.rates("standard", 200_001).input_nusd == 2_400_000_000 * 8 // 10
