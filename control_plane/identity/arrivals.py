"""Whom the identity provider sends: who that is here, and which roles their groups give and take away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from django.db import transaction
from django.db.models import Q

from control_plane.audit.context import Acting, acting_as
from control_plane.identity.models import DirectoryGroup, DirectoryPerson, GroupMapping
from control_plane.rows import create_row
from control_plane.teams.models import Membership, User
from control_plane.teams.people import end_membership

_NO_ROLE: Final = "You have no role here. Ask who administers Bursar to give one to you, or to a group that you are in."


class Refused(Exception):
    """Why somebody whom the provider sends does not come in, in words for them."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What the provider says of a person; `known` is who that is here, if they were here before."""

    known: User | None
    external_id: str
    username: str
    email: str
    email_is_verified: bool
    first_name: str
    last_name: str
    groups: frozenset[str]


def welcome(arrival: Arrival, *, address: str) -> User:
    """The person here, their roles in line with their groups; one who comes for the first time is made.

    Raises:
        Refused: they may not come in.
    """
    acting = Acting(
        actor="identity-provider",
        way="web",
        address=address,
        reason=f"log-in of {arrival.email or arrival.external_id}",
    )
    with acting_as(lambda: acting):
        try:
            return _welcome(arrival)
        except _WithoutRole as refused:
            # What was taken away stays so.
            raise Refused(_NO_ROLE) from refused


class _WithoutRole(Exception):
    pass


def _welcome(arrival: Arrival) -> User:
    user = arrival.known or _by_directory(arrival) or _by_verified_address(arrival)
    mappings = _mappings(user, arrival.groups)
    if user is not None and (user.is_service or not user.is_active):
        raise Refused("Your account is switched off. Ask who administers Bursar.")
    if user is None:
        if not mappings:
            raise _WithoutRole
        user = _create(arrival)
    bring_in_line(user, mappings)
    if not (user.is_superuser or user.memberships.exists()):
        raise _WithoutRole
    return user


def _mappings(user: User | None, groups: frozenset[str]) -> list[GroupMapping]:
    """What somebody's groups mean: those that the log-in brings, and those that directories have put them in. Where a
    directory has switched them off, nothing means anything."""
    if user is None:
        return list(GroupMapping.objects.filter(group__in=groups))
    off = DirectoryPerson.objects.filter(user=user, active=False).values("organization")
    brought = GroupMapping.objects.filter(group__in=groups).exclude(organization__in=off)
    return [*brought, *mappings_of(user.directory_groups.exclude(organization__in=off))]


def mappings_of(groups: Iterable[DirectoryGroup]) -> list[GroupMapping]:
    """What groups of directories mean, each in its own organization."""
    meant = [Q(organization=group.organization_id, group__in=group.names) for group in groups]
    return list(GroupMapping.objects.filter(reduce(or_, meant))) if meant else []


@transaction.atomic
def bring_in_line(user: User, mappings: list[GroupMapping], *, lost: list[GroupMapping] | None = None) -> None:
    """Give what the groups give, take away what they gave before and do not any more, or of that only what those `lost`
    gave; what was given by hand stays."""
    User.objects.select_for_update().get(pk=user.pk)
    held = {_place(row): row for row in Membership.objects.filter(user=user)}
    wanted = {_place(mapping): mapping for mapping in mappings}
    going = held.keys() if lost is None else {_place(mapping) for mapping in lost}
    for place, membership in held.items():
        if membership.from_groups and place not in wanted and place in going:
            end_membership(membership)
    for place, mapping in wanted.items():
        if place not in held:
            create_row(
                Membership(
                    user=user,
                    organization_id=mapping.organization_id,
                    department_id=mapping.department_id,
                    team_id=mapping.team_id,
                    role=mapping.role,
                    from_groups=True,
                )
            )


def _place(row: Membership | GroupMapping) -> tuple[int, int | None, int | None, str]:
    return row.organization_id, row.department_id, row.team_id, row.role


def _by_directory(arrival: Arrival) -> User | None:
    """The one person whom directories know by the id with which the provider sends somebody. One with a password might
    be used by whoever has set that, so is never tied to anybody by what a directory says."""
    found = User.objects.filter(directory_entries__external_id=arrival.external_id).distinct()[:2]
    return found[0] if len(found) == 1 and not found[0].has_usable_password() else None


def _by_verified_address(arrival: Arrival) -> User | None:
    """The one person here with the address.

    Raises:
        Refused: the provider does not say that it is theirs, or several have it.
    """
    if not arrival.email:
        return None
    found = list(User.objects.filter(email__iexact=arrival.email)[:2])
    if not found:
        return None
    if not arrival.email_is_verified or len(found) > 1:
        raise Refused(
            "There is an account with your e-mail address, but the identity provider does not say that the address is "
            "verified, or several have it. Ask who administers Bursar."
        )
    return found[0]


@transaction.atomic
def _create(arrival: Arrival) -> User:
    """A person without a password.

    Raises:
        Refused: somebody else has their name.
    """
    username = (arrival.username or arrival.email or arrival.external_id)[:150]
    if User.objects.filter(Q(username__iexact=username)).exists():
        raise Refused(f"Somebody else here is called {username}. Ask who administers Bursar.")
    user = User(
        username=username,
        email=arrival.email,
        first_name=arrival.first_name[:150],
        last_name=arrival.last_name[:150],
        is_staff=True,
    )
    user.set_unusable_password()
    return create_row(user)
