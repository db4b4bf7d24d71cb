"""Bad input at the doors of the control plane: a clear 400, and no row, release or counter that it could have left."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from control_plane.budgets.models import Budget, Limit
from control_plane.catalog.models import Deployment
from control_plane.keys.models import VirtualKey
from control_plane.releases.models import Release
from tests.control_plane.cast import PRICE, Api

_GOOD: Final[dict[str, dict[str, Any]]] = {
    "budgets": {"name": "b", "scope": "organization", "period": "month", "amount": 1},
    "limits": {"name": "l", "scope": "organization", "unit": "requests", "amount": 1, "window_seconds": 60},
    "deployments": {"model": "gpt-4o-mini", "provider": "openai", "provider_model": "gpt-4o-mini", "price": PRICE},
    "keys": {"team": "search", "name": "k"},
}
# What stands for a number where it must not: JSON as it is written.
_NO_AMOUNT: Final = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1", "-0.5", "1.5", "1.0", "1e3", "9007199254740993.0"),
    *("9007199254740993e0", str(10**16), "9" * 5000, '"1"', '"NaN"', '""', "null", "true", "[]", "[1]", '{"a":1}'),
]
_NO_MONEY: Final = [
    *("NaN", "-1", "0.1", "1e0", '"NaN"', '"Infinity"', '"-0.01"', '"1e30"', '"0.0000000001"', '"ten"', '""', "null"),
    *("true", "[]", "{}", '"1,5"', '"9007199254740992"'),
]
_NO_INSTANT: Final = ["0", "1e99", '"tomorrow"', "true", "NaN", '"2026-12-24"', '"2999-12-24T12:00:00"']
_NO_FLAG: Final = ['"true"', '"no"', "1", "0", "null", "[]"]
_NUMBERS: Final = {
    "budgets": ["amount"],
    "limits": ["amount", "window_seconds"],
}
_TEXTS: Final = {"budgets": "name", "limits": "name", "deployments": "provider_model", "keys": "name"}


def written(kind: str, member: str = "", value: str = "") -> str:
    """The body with one member as it is given; `price.input` is a member of the price."""
    outer, _, inner = member.partition(".")
    fields = json.loads(json.dumps(_GOOD[kind]))
    if inner:
        fields[outer][inner] = "<here>"
    elif member:
        fields[outer] = "<here>"
    return json.dumps(fields).replace('"<here>"', value)


def _cases() -> dict[str, list[str]]:
    cases: dict[str, list[str]] = {}
    for kind in _GOOD:
        good = written(kind)
        deep = ("[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000, "[" * 10_000)
        cases[kind] = [
            *("", "null", "[]", f"[{good}]", '"text"', good[:-1], good + "x", good + good, "\ufeff" + good),
            *deep,
            *(written(kind, _TEXTS[kind], value) for value in (*deep, '"a\\u0000b"', '""', "null", "[]", "{}")),
            good[:-1] + f', "{_TEXTS[kind]}": "again"}}',
            good[:-1] + ', "unit_price": 1}',
            good[:-1] + ', "id": 7}',
            good[:-1] + ', "organization": "other"}',
        ]
        for name in _NUMBERS.get(kind, ()):
            cases[kind] += [written(kind, name, value) for value in _NO_AMOUNT]
    cases["budgets"] += [written("budgets", name, value) for name in ("hard", "shadow", "active") for value in _NO_FLAG]
    cases["budgets"] += [
        written("budgets", "amount", f'1, "amount_usd": {value}').replace('"amount": 1, ', "") for value in _NO_MONEY
    ]
    cases["budgets"] += [
        written("budgets", "thresholds_percent", value)
        for value in ("[NaN]", '["50"]', "[50.0]", "[-1]", "[null]", "[0]", "[101]", '"50"', "50", "null")
    ]
    cases["limits"] += [written("limits", "shadow", value) for value in _NO_FLAG]
    for flag in ("speaks_for_users", "personal"):
        cases["keys"] += [written("keys", flag, value) for value in _NO_FLAG]
    cases["keys"] += [written("keys", "tags", value) for value in ('"prod"', "[null]", '["a b"]', "[[]]", "{}", "NaN")]
    cases["keys"] += [written("keys", "expires_at", value) for value in _NO_INSTANT]
    cases["keys"] += [written("keys", "models", value) for value in ('"gpt-4o-mini"', "[1.5]", '["unknown"]')]
    cases["deployments"] += [
        written("deployments", f"price.{name}", value) for name in PRICE for value in _NO_MONEY[:-1]
    ]
    cases["deployments"] += [
        written("deployments", "price", value)
        for value in ("[]", "0", '"free"', "{}", '{"input_usd_per_mtok": "1"}', json.dumps(PRICE | {"per_call": "1"}))
    ]
    cases["deployments"] += [written("deployments", "price.input_usd_per_mtok", '"1", "input_usd_per_mtok": "2"')]
    cases["deployments"] += [written("deployments", "order", value) for value in _NO_AMOUNT]
    return cases


@pytest.mark.parametrize(("kind", "bodies"), _cases().items(), ids=_GOOD)
def test_bad_input_is_a_clear_400_and_leaves_nothing(api: Api, kind: str, bodies: list[str]) -> None:
    api.team()
    api.model()
    api.provider()
    releases = Release.objects.count()

    answers = {body[:200]: api.call("POST", kind, body) for body in bodies}

    unclear = {
        body: (answer.status_code, answer.content[:200])
        for body, answer in answers.items()
        if answer.status_code != 400 or not answer.json()["detail"]
    }
    assert unclear == {}
    assert [rows.objects.count() for rows in (Budget, Limit, Deployment, VirtualKey)] == [0, 0, 0, 0]
    assert Release.objects.count() == releases


@pytest.mark.parametrize("kind", _GOOD)
def test_the_good_body_from_which_the_bad_ones_are_made_is_taken(api: Api, kind: str) -> None:
    api.team()
    api.model()
    api.provider()

    assert api.call("POST", kind, written(kind)).status_code == 201


@pytest.mark.parametrize("expires_at", ["2999-12-24T12:00:00", "2999-12-24", "2999-12-24 12:00"])
def test_an_instant_without_its_offset_is_not_taken_for_utc(api: Api, expires_at: str) -> None:
    api.team()
    extensions = f"budgets/{api.budget()['id']}/extensions"

    for path, body in {
        "keys": _GOOD["keys"],
        extensions: {"amount": 1, "reason": "A launch"},
    }.items():
        answer = api.call("POST", path, body | {"expires_at": expires_at})

        assert answer.status_code == 400
        assert answer.json()["errors"] == [
            {"field": "expires_at", "message": "Give an instant with its offset, such as 2026-11-01T00:00:00Z."}
        ]


@pytest.mark.parametrize("number", ["9" * 5_000, "-" + "9" * 5_000, "1e999"])
def test_a_number_that_is_too_long_is_answered_in_words_about_numbers(api: Api, number: str) -> None:
    answer = api.call("POST", "budgets", written("budgets", "amount", number))

    assert (answer.status_code, answer.json()["detail"]) == (400, "JSON parse error: a number is out of range")


@pytest.mark.parametrize(
    "path",
    [
        *(f"{kind}/{'9' * 31}" for kind in ("budgets", "limits", "keys", "deployments", "webhooks", "forecasts")),
        *(f"budgets/{'9' * 31}/extensions", f"budgets/{'9' * 31}/extensions/1/revoke", "budgets/1/extensions/x"),
        *("budgets/", "nothing/here", ""),
    ],
)
def test_an_address_that_there_is_not_gets_a_problem_and_no_page(api: Api, path: str) -> None:
    for method in ("GET", "POST", "PATCH"):
        answer = api.call(method, path, {})

        assert answer.status_code in (404, 405)
        assert answer["content-type"] == "application/problem+json"
    assert api.call("GET", path).status_code == 404
