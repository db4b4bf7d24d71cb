"""One minikong and one upstream for all tests of a worker; a test posts the configuration that it wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.minikong.gateway import Gateway, gateway_environment, running_gateway
from tests.minikong.upstream import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream().running() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    environment = gateway_environment(tmp_path_factory.mktemp("kong"))
    with running_gateway(environment, upstream.port) as gateway:
        yield gateway
