"""One Lua runtime serves a whole test module; requests are independent of each other."""

from __future__ import annotations

import pytest

from tests.guard.gateway import Kong


@pytest.fixture(scope="module")
def kong() -> Kong:
    return Kong()
