"""Whom and which groups an organization's directory tells us of, and what follows from that.

A directory is of one organization. Who belongs to nobody else is switched on and off as a whole; whoever belongs to
another organization too, or operates the installation, loses only what they have in this one, and is called what they
are called.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ValidationError
from django.db import transaction

from control_plane.identity.arrivals import bring_in_line, mappings_of
from control_plane.identity.models import DirectoryGroup, DirectoryPerson, GroupMapping
from control_plane.rows import change_row, create_row
from control_plane.teams.models import Membership, User
from control_plane.teams.people import change_person, leave_organization

if TYPE_CHECKING:
    from control_plane.teams.models import Organization

TAKEN: Final = "taken"


@transaction.atomic
def provision_person(
    *, organization: Organization, external_id: str = "", active: bool = True, **called: str
) -> DirectoryPerson:
    """Make a person without a password and without a role, who comes in by the identity provider.

    Raises:
        ValidationError: by field; with the code `taken` where somebody has the name.
    """
    _require_free(called.get("username", ""))
    user = User(**called, is_staff=True, is_active=active)
    user.set_unusable_password()
    create_row(user)
    return create_row(DirectoryPerson(organization=organization, user=user, external_id=external_id, active=active))


@transaction.atomic
def change_directory_person(
    *,
    organization: Organization,
    user: User,
    external_id: str | None = None,
    active: bool | None = None,
    **called: str,
) -> DirectoryPerson:
    """Take over what the directory says of somebody who belongs to the organization. It switches on only whom it has
    switched off itself, and off whoever is on.

    Raises:
        ValidationError: by field; with the code `taken` where somebody else has the name.
    """
    User.objects.select_for_update().get(pk=user.pk)
    entry, _ = DirectoryPerson.objects.get_or_create(organization=organization, user=user)
    is_ours = not _belongs_elsewhere(user, organization)
    if called and is_ours:
        _require_free(called.get("username", ""), but_for=user)
        change_person(user.pk, **called)
    if external_id is not None:
        entry, _ = change_row(DirectoryPerson.objects.all(), entry.pk, {"external_id": external_id})
    if active is not None:
        entry = _switch(entry, on=active, is_ours=is_ours)
    return entry


def _switch(entry: DirectoryPerson, *, on: bool, is_ours: bool) -> DirectoryPerson:
    was_on = entry.active
    entry, _ = change_row(DirectoryPerson.objects.select_related("user", "organization"), entry.pk, {"active": on})
    if not on and is_ours:
        change_person(entry.user_id, is_active=False)
    elif not on:
        leave_organization(entry.user, entry.organization)
    elif not was_on:
        if is_ours:
            change_person(entry.user_id, is_active=True)
        _settle([entry.user], entry.organization, lost=[])
    return entry


@transaction.atomic
def create_group(
    *, organization: Organization, name: str, external_id: str = "", members: Collection[User] = ()
) -> DirectoryGroup:
    """Note a group and who is in it; they get the roles that it means.

    Raises:
        ValidationError: by field; with the code `taken` where there is one of the name.
    """
    if DirectoryGroup.objects.filter(organization=organization, name=name).exists():
        raise ValidationError("There is a group with this displayName.", code=TAKEN)
    group = create_row(DirectoryGroup(organization=organization, name=name, external_id=external_id))
    set_members(group, members)
    return group


@transaction.atomic
def rename_group(group: DirectoryGroup, **names: str) -> DirectoryGroup:
    """Change what a group is called; its people get what the new name means, and lose what the old one did.

    Raises:
        ValidationError: by field.
    """
    lost = mappings_of([group])
    group, changed = change_row(DirectoryGroup.objects.select_related("organization"), group.pk, names)
    if changed:
        _settle(group.members.all(), group.organization, lost=lost)
    return group


@transaction.atomic
def set_members(group: DirectoryGroup, members: Collection[User]) -> None:
    """Say who is in a group: who is new gets what it means, who is gone loses that."""
    DirectoryGroup.objects.select_for_update().get(pk=group.pk)
    before, after = set(group.members.all()), set(members)
    group.members.add(*(after - before))
    group.members.remove(*(before - after))
    _settle(before ^ after, group.organization, lost=mappings_of([group]))


@transaction.atomic
def remove_group(group: DirectoryGroup) -> None:
    """Forget a group; its people lose what it meant."""
    set_members(group, [])
    group.delete()


def _settle(people: Collection[User], organization: Organization, *, lost: list[GroupMapping]) -> None:
    """Give people the roles that their groups in the organization mean, and take away what those `lost` gave."""
    for user in sorted(people, key=lambda person: person.pk):
        is_off = DirectoryPerson.objects.filter(organization=organization, user=user, active=False).exists()
        groups = user.directory_groups.filter(organization=organization)
        bring_in_line(user, [] if is_off else mappings_of(groups), lost=lost)


def _belongs_elsewhere(user: User, organization: Organization) -> bool:
    roles = Membership.objects.filter(user=user).exclude(organization=organization)
    entries = DirectoryPerson.objects.filter(user=user).exclude(organization=organization)
    return user.is_superuser or roles.exists() or entries.exists()


def _require_free(username: str, *, but_for: User | None = None) -> None:
    """userName is unique, whatever its case (https://www.rfc-editor.org/rfc/rfc7643#section-4.1.1)."""
    others = User.objects.filter(username__iexact=username)
    if but_for is not None:
        others = others.exclude(pk=but_for.pk)
    if username and others.exists():
        raise ValidationError("Somebody has this userName.", code=TAKEN)
