"""The OpenAPI file and the API agree, and whoever reads it needs nothing from anywhere else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_plane.teams.models import User
from tests.control_plane.api.addresses import OPEN, views
from tests.control_plane.cast import Api

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "openapi.yaml"
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def alice(transactional_db: None) -> User:
    """Her rows are really committed: the application closes its connections as a server's does."""
    return User.objects.create_superuser("alice")


def test_the_file_is_what_make_openapi_writes(tmp_path: Path) -> None:
    written = tmp_path / "openapi.yaml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(written))

    assert DOCUMENT.read_text() == written.read_text(), "run `make openapi`"


def test_every_address_is_described() -> None:
    described = DOCUMENT.read_text()

    for address, _ in views():
        if address not in OPEN:
            plain = re.sub(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>", r"{\1\2}", address)
            beginning = plain.split("{")[0].rstrip("/")
            assert f"/api/v1/{beginning}" in described, address


@pytest.mark.django_db
def test_the_page_of_the_description_needs_nothing_from_elsewhere_and_runs_no_inline_script() -> None:
    reader = Client()
    page = reader.get("/api/v1/docs").content.decode()

    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        answer = reader.get(address)
        answer.close()
        assert answer.status_code == 200, address
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
    assert reader.get("/api/v1/schema").status_code == 200


def test_whatever_is_sent_the_answer_is_as_described(api: Api) -> None:
    api.team()
    api.deployment()
    api.create("keys", team="search", name="prod")
    api.budget()
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema", get_wsgi_application())
    headers = {"Authorization": f"Token {api.token}"}
    complaints: list[str] = []

    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @settings(
            max_examples=4,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            answer = case.call(headers=headers)
            try:
                case.validate_response(answer, checks=CHECKS)
            except AssertionError as error:
                complaints.append(str(error))
            except BaseExceptionGroup as error:
                complaints.extend(str(each) for each in error.exceptions)

        call()

    assert complaints == [], "\n\n".join(complaints)
