"""docs/providers.md says what the code knows."""

from __future__ import annotations

from stack.programs import REPOSITORY
from tests.control_plane.catalog.provider_table import page


def test_the_page_of_providers_is_current() -> None:
    assert (REPOSITORY / "docs" / "providers.md").read_text() == page(), "run `make providers`"
