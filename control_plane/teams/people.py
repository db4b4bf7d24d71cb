"""Changing who belongs to an organization: departments, people and service accounts, and their memberships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from control_plane.api.services import revoke_tokens_of
from control_plane.rows import change_row, create_row
from control_plane.teams.models import Department, Membership, User
from control_plane.teams.signals import person_left

if TYPE_CHECKING:
    from control_plane.teams.models import Organization


@transaction.atomic
def create_department(*, organization: Organization, **fields: Any) -> Department:
    """Put some teams under one roof; which ones, the teams say.

    Raises:
        ValidationError: by field.
    """
    return create_row(Department(organization=organization, **fields))


@transaction.atomic
def change_department(department_id: int, **changes: Any) -> Department:
    """Change what a department is called, or what its teams are charged to.

    Raises:
        ValidationError: by field.
    """
    return change_row(Department.objects.all(), department_id, changes)[0]


@transaction.atomic
def create_membership(*, organization: Organization, **fields: Any) -> Membership:
    """Give somebody a role.

    Raises:
        ValidationError: by field.
    """
    return create_row(Membership(organization=organization, **fields))


@transaction.atomic
def end_membership(membership: Membership) -> None:
    """Take a role away; it is gone with the next request."""
    membership.delete()


@transaction.atomic
def leave_organization(user: User, organization: Organization) -> None:
    """End all that somebody has in one organization, for good: roles, API tokens and personal keys."""
    for membership in Membership.objects.filter(user=user, organization=organization):
        end_membership(membership)
    revoke_tokens_of(user.pk, organization_id=organization.pk)
    person_left.send(sender=None, user=user, organization_id=organization.pk)


@transaction.atomic
def create_person(*, organization: Organization, password: str | None = None, **fields: Any) -> User:
    """Make a person or a service account, who belongs to the organization by a first role.

    Raises:
        ValidationError: by field.
    """
    places = {name: fields.pop(name) for name in ("role", "department", "team") if name in fields}
    user = User(**fields, is_staff=not fields.get("is_service", False))
    _set_password(user, password)
    create_row(user)
    create_membership(organization=organization, user=user, **places)
    return user


@transaction.atomic
def change_person(user_id: int, *, password: str | None = None, **changes: Any) -> User:
    """Change what somebody is called, or whether they may come in at all. Who is switched off loses their sessions, API
    tokens and personal keys for good: switched on again, they log in and make new ones.

    Raises:
        ValidationError: by field.
    """
    user, changed = change_row(User.objects.all(), user_id, changes)
    if "is_active" in changed and not user.is_active:
        user.sessions_ended += 1
        user.save(update_fields=["sessions_ended"])
        revoke_tokens_of(user.pk)
        person_left.send(sender=None, user=user, organization_id=None)
    if password is not None:
        _set_password(user, password)
        user.save(update_fields=["password"])
    return user


def _set_password(user: User, password: str | None) -> None:
    if password is None:
        user.set_unusable_password()
        return
    if user.is_service:
        raise ValidationError({"password": "A service account has no password; give it an API token."})
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from error
    user.set_password(password)
