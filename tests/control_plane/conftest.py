"""Django for the control plane's tests, and only for them: the core's tests run without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import django
import pytest
import redis
from django.db.models.signals import post_migrate
from pytest_django import DjangoDbBlocker, Settings

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
from django.contrib.contenttypes.management import create_contenttypes  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from control_plane.api.services import issue_token  # noqa: E402
from control_plane.live import live_state  # noqa: E402
from control_plane.teams.models import User  # noqa: E402
from control_plane.teams.services import create_organization  # noqa: E402
from kong_plugins.llm.store import Store  # noqa: E402
from stack.ports import free_ports  # noqa: E402
from tests.control_plane.cast import Api  # noqa: E402

# Each test ends with its tables emptied, after which Django would write its own rows anew. Nobody needs them: rights
# come from memberships, and a content type is made where one is asked for.
post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
post_migrate.disconnect(create_contenttypes)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres_address: str, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """pytest-django makes its databases, one a worker, only once Postgres answers."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """A test ends with every table emptied, the audit log's too, which otherwise refuses."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_truncate")
    connection.close()


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


@pytest.fixture
def redis_away(settings: Settings) -> Callable[[], AbstractContextManager[None]]:
    """Within the block nothing answers at the address of Redis."""

    @contextmanager
    def away() -> Iterator[None]:
        address = settings.REDIS_URL
        settings.REDIS_URL = f"redis://127.0.0.1:{free_ports().redis}/0"
        live_state.cache_clear()
        try:
            yield
        finally:
            live_state().close()
            settings.REDIS_URL = address
            live_state.cache_clear()

    return away


@pytest.fixture
def forget_everything(redis_address: str) -> Callable[[], None]:
    """Redis loses all that this worker's tests have put there."""

    def forget() -> None:
        with redis.Redis.from_url(redis_address) as client:
            client.flushdb()

    return forget
