"""What these tests ask is answered before anything would be published, so they need no commit, which is slow."""

from __future__ import annotations

import pytest

from control_plane.teams.models import User


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_superuser("alice")
