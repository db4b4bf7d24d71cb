"""Every address × every role × rows of others: nothing of them is told, and nothing of them changes."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Final

import pytest
from django.test import Client

from control_plane.api.models import ApiToken
from control_plane.teams.models import Membership, Organization, User
from tests.control_plane.rights.addresses import Address, addresses
from tests.control_plane.rights.conftest import COUNTED
from tests.control_plane.rights.people import FOREIGN, READERS, client_of
from tests.control_plane.rights.world import AMOUNTS_NUSD, COLOURS, World, build, word

pytestmark = pytest.mark.django_db

# Addresses that programs call, not browsers.
FOR_PROGRAMS: Final = ("/api/", "/scim/")
# What an address has to be asked, beside nothing.
QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "/api/v1/spend": ("?group_by=team", "?group_by=key", "?group_by=user,tag", "?group_by=day&format=csv"),
    "/admin/ledger/hourrollup/": ("", "?group_by=key", "?group_by=user", "?group_by=model"),
    "/admin/ledger/refusalcount/": ("", "?mode=shadow"),
}
# Kinds of row that the walk makes none of, so that nobody's pages of one are asked for.
WITHOUT_ROWS: Final = frozenset[str]()
# Part of a word, so that a page that repeats what was looked for has told nothing.
SEARCHES: Final = ("", "?q=zqblu", "?q=zqgree")


# In each run of all tests a role walks each twelfth address, and every role another twelfth; in all of them together
# every address is walked.
_STRIDE: Final = 1 if "BURSAR_EVERY_RIGHT" in os.environ else 12


def walked_by(role: str) -> list[Address]:
    return addresses()[list(FOREIGN).index(role) % _STRIDE :: _STRIDE]


def counted(role: str, walked: int, leaks: int) -> tuple[str, dict[str, Any]]:
    return COUNTED, {
        "role": role,
        "addresses": len(addresses()),
        "objects": len(COLOURS),
        "walked": walked,
        "leaks": leaks,
    }


def leaks(text: str, role: str, path: str) -> list[str]:
    """What of others is in an answer; what the address itself says is not told by it."""
    # Django's message repeats, on a later page, the id that was asked for.
    said = re.sub(r"with ID “[^”]*” doesn’t exist", "", text)
    said = said.replace(path, "").replace(path.replace("/", "%2F"), "")
    found = [colour for colour in FOREIGN[role] if word(colour) in said and word(colour) not in path]
    amounts = [f"{AMOUNTS_NUSD[colour]}" for colour in FOREIGN[role]]
    amounts += [f"{AMOUNTS_NUSD[colour] / 10**9:.6f}" for colour in FOREIGN[role]]
    return found + [amount for amount in amounts if amount in said]


def around(text: str, leak: str) -> str:
    at = text.find(word(leak) if leak in COLOURS else leak)
    return " ".join(text[max(0, at - 200) : at + 60].split())


def text_of(answer: Any) -> str:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return body.decode(errors="replace") + str(dict(answer.headers))


def send(program: Client, method: str, path: str, body: bytes | str) -> Any:
    """A program's request; identity providers send the same token as a bearer's."""
    header = program.defaults.get("HTTP_AUTHORIZATION", "")
    said = header.replace("Token ", "Bearer ") if path.startswith("/scim/") else header
    sent: dict[str, Any] = {"HTTP_AUTHORIZATION": said} if said else {}
    return program.generic(method, path, body, content_type="application/json", **sent)


def ask(client: Client, path: str, method: str = "GET") -> Any:
    if path.startswith(FOR_PROGRAMS):
        return send(client, method, path, b"" if method == "GET" else b"{}")
    return client.generic(method, path, b"", content_type="application/x-www-form-urlencoded")


def questions(address: Address, path: str) -> tuple[str, ...]:
    if path in QUESTIONS:
        return QUESTIONS[path]
    is_list = not address.parameters and re.fullmatch(r"/admin/\w+/\w+/", path)
    return SEARCHES if is_list else ("",)


@pytest.mark.parametrize("role", FOREIGN)
def test_nothing_of_others_is_in_any_answer(role: str, record_property: Any) -> None:
    world = build()
    browser, program = client_of(role, world)
    found: list[str] = []
    walked = 0
    for address in walked_by(role):
        client = program if address.path.startswith(FOR_PROGRAMS) else browser
        for colour in COLOURS if address.parameters else COLOURS[:1]:
            path = address.of(world, colour)
            for question in questions(address, path) if path else ():
                answer = ask(client, f"{path}{question}")
                walked += 1
                assert answer.status_code < 500, f"{role} GET {path}{question}: {answer.status_code}"
                said = text_of(answer)
                found += [f"GET {path}{question}: …{around(said, leak)}…" for leak in leaks(said, role, path or "")]
    record_property(*counted(role, walked, len(found)))
    assert not found, "\n".join(found)
    assert walked >= len(addresses()) // _STRIDE


@pytest.mark.parametrize("role", [role for role in FOREIGN if role != "superuser"])
def test_what_others_have_looks_as_what_there_is_not(role: str, record_property: Any) -> None:
    world = build()
    browser, program = client_of(role, world)
    differing = []
    walked = 0
    for address in walked_by(role):
        if not address.names_a_row or address.kind is None or address.kind not in world.rows:
            continue
        client = program if address.path.startswith(FOR_PROGRAMS) else browser
        for colour in FOREIGN[role]:
            path = address.of(world, colour)
            if path is None or _is_ones_own_organization(address, role, colour):
                continue
            of_none = re.sub(r"<(?:\w+:)?(\w+)>", "987654321", address.path)
            for method in sorted(address.methods & {"GET", "PATCH", "POST", "DELETE"}):
                walked += 2
                codes = ask(client, path, method).status_code, ask(client, of_none, method).status_code
                if codes[0] != codes[1] or codes[0] < 300:
                    differing.append(f"{role} {method} {path}: {codes[0]}, where there is none: {codes[1]}")
    record_property(*counted(role, walked, len(differing)))
    assert not differing, "\n".join(differing)


def _is_ones_own_organization(address: Address, role: str, colour: str) -> bool:
    """Red and blue are of one organization and have one catalogue, which all of its roles see."""
    if role in ("nobody", "anonymous", "stranger") or colour == "green":
        return False
    return address.kind is Organization or (address.kind is not None and address.kind._meta.app_label == "catalog")


@pytest.mark.parametrize("role", [role for role in FOREIGN if role != "superuser"])
def test_no_field_of_others_changes_whoever_posts_it(role: str, record_property: Any) -> None:
    world = build()
    browser, program = client_of(role, world)
    walked = 0
    colours = COLOURS if role in READERS else FOREIGN[role]
    before = _state(world, colours)
    for address in walked_by(role):
        if address.kind is None or address.kind not in world.rows or (address.kind is ApiToken and role not in READERS):
            continue
        body = {column.name: _new(column) for column in address.kind._meta.concrete_fields}
        for colour in colours:
            path = address.of(world, colour)
            if path is None:
                continue
            if address.path.startswith(FOR_PROGRAMS):
                for method in sorted(address.methods & {"POST", "PATCH", "PUT", "DELETE"}):
                    for fields in [body, *({name: value} for name, value in body.items() if method == "PATCH")]:
                        walked += 1
                        send(program, method, path, json.dumps(fields, default=str))
            elif address.parameters:
                walked += 1
                browser.post(path, {name: str(value) for name, value in body.items()} | {"_form_submitted": "True"})
    after = _state(world, colours)
    changed = [
        f"{label}: {before[label]} → {after.get(label)}" for label in before if before[label] != after.get(label)
    ]
    record_property(*counted(role, walked, len(changed)))
    assert not changed, "\n".join(changed)


def _state(world: World, colours: tuple[str, ...]) -> dict[str, Any]:
    """The rows of some colours, as they lie in the database."""
    return {
        f"{kind._meta.label} {rows[colour].pk}": kind._default_manager.filter(pk=rows[colour].pk).values().first()
        for kind, rows in world.rows.items()
        for colour in colours
        if colour in rows
    }


def _new(column: Any) -> Any:
    """A value that a field might take, and that differs from what is there."""
    if column.choices:
        return column.choices[-1][0]
    values = {
        "BooleanField": True,
        "DateTimeField": "2030-01-01T00:00:00Z",
        "DateField": "2030-01-01",
        "ArrayField": [],
        "JSONField": {},
    }
    return values.get(column.get_internal_type(), 1 if "Integer" in column.get_internal_type() else "zqnew")


def test_the_walk_has_rows_of_each_kind_that_an_address_is_about() -> None:
    world = build()
    kinds = {address.kind for address in addresses() if address.parameters and address.kind is not None}
    without = {kind._meta.label for kind in kinds if kind not in world.rows}

    assert {User, Membership, ApiToken} <= kinds
    assert without == WITHOUT_ROWS
