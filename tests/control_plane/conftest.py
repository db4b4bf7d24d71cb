"""Django for the control plane's tests, and only for them: the core's tests run without it."""

from __future__ import annotations

import os

import django
import pytest

from kong_plugins.llm.credentials import new_credential_key
from tests.servers import postgres_server, valkey_server

_SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "control_plane.settings",
    "DATABASE_URL": postgres_server().url,
    "REDIS_URL": valkey_server().url,
    "BURSAR_KEY_PEPPER": "a pepper for tests",
    "BURSAR_CREDENTIAL_KEY": new_credential_key(),
    "BURSAR_SECRET_KEY": "a secret for tests that is long enough for Django's own checks",
}

# Settings are read once. What they were read from is taken back, so that no program that a test starts inherits it.
_before = dict(os.environ)
os.environ.update(_SETTINGS)
django.setup()
os.environ.clear()
os.environ.update(_before)

# Models can be imported only now.
from django.test import Client  # noqa: E402

from control_plane.api.services import issue_token  # noqa: E402
from control_plane.teams.models import User  # noqa: E402
from control_plane.teams.services import create_organization  # noqa: E402
from kong_plugins.llm.store import Store  # noqa: E402
from tests.control_plane.cast import Api  # noqa: E402


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres_address: str, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """pytest-django makes its databases, one a worker, only once Postgres answers."""


@pytest.fixture(autouse=True)
def live_redis(redis_address: str) -> str:
    """The control plane publishes to Redis wherever it changes something."""
    return redis_address


@pytest.fixture
def alice(transactional_db: None) -> User:
    """The administrator; her rows are really committed, since publishing comes after the commit."""
    return User.objects.create_superuser("alice")


@pytest.fixture
def api(alice: User, store: Store, organization: str) -> Api:
    """The REST API as a program of Alice's calls it, in an organization that gateways know of."""
    row = create_organization(slug=organization, name="Acme", time_zone="Europe/Berlin", actor="alice")
    _, token = issue_token(user_id=alice.pk, organization_id=row.pk, name="tests")
    return Api(organization=row, user=alice, token=token, store=store)


@pytest.fixture
def pages(api: Api) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(api.user)
    return client
