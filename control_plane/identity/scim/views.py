"""The people and the groups of an organization's directory, as identity providers keep them by SCIM 2.0."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Prefetch, Q, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSetMixin

from control_plane.identity import directory
from control_plane.identity.models import DirectoryGroup, DirectoryPerson
from control_plane.identity.scim.filters import comparisons
from control_plane.identity.scim.patches import Operation, operations
from control_plane.identity.scim.protocol import ScimError, ScimView, folded, page_of
from control_plane.identity.scim.resources import member_ids, person_changes, shown_group, shown_person, text_of
from control_plane.rights.scope import require, visible
from control_plane.teams.models import User
from control_plane.teams.selectors import people_of


class ResourceView(ViewSetMixin, ScimView):
    """Rows that the caller sees, by filter or by SCIM's id, which is the primary key as text."""

    @property
    def base(self) -> str:
        return self.request.build_absolute_uri("/scim/v2")

    def seen(self) -> QuerySet[Any]:
        raise NotImplementedError

    def shown(self, row: Any) -> dict[str, Any]:
        raise NotImplementedError

    def meant(self, path: str, value: str) -> Q:
        """The rows of which an attribute equals something."""
        raise NotImplementedError

    def row(self, pk: str) -> Any:
        found = self.seen().filter(_by_id(pk)).first()
        if found is None:
            raise NotFound
        return found

    def list(self, request: Request) -> Response:
        rows = self.seen()
        for path, value in comparisons(request.query_params.get("filter", "")):
            rows = rows.filter(self.meant(path, value))
        return page_of(request, rows, self.shown)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.shown(self.row(pk)))

    def answer(self, pk: int, *, status: int = 200) -> Response:
        shown = self.shown(self.seen().get(pk=pk))
        return Response(shown, status=status, headers={"Location": shown["meta"]["location"]})


class UsersView(ResourceView):
    """Nobody is deleted: DELETE switches off, as `active` false does."""

    queryset = User.objects.all()

    def seen(self) -> QuerySet[User]:
        entries = DirectoryPerson.objects.filter(organization=self.organization)
        groups = visible(DirectoryGroup.objects.filter(organization=self.organization), self.person)
        people = visible(people_of(self.organization).filter(is_service=False), self.person)
        return people.prefetch_related(
            Prefetch("directory_entries", queryset=entries, to_attr="entries"),
            Prefetch("directory_groups", queryset=groups, to_attr="seen_groups"),
        )

    def shown(self, row: Any) -> dict[str, Any]:
        return shown_person(row, base=self.base)

    def meant(self, path: str, value: str) -> Q:
        known = {
            "username": Q(username__iexact=value),
            "externalid": Q(
                pk__in=DirectoryPerson.objects.filter(organization=self.organization, external_id=value).values("user")
            ),
            "emails": Q(email__iexact=value),
            "emails.value": Q(email__iexact=value),
            "id": _by_id(value),
        }
        return _chosen(known, path)

    def create(self, request: Request) -> Response:
        changes = person_changes(_attributes(request).items())
        with transaction.atomic():
            entry = directory.provision_person(organization=self.organization, **changes)
            require(self.person, "add", entry)
        return self.answer(entry.user_id, status=201)

    def update(self, request: Request, pk: str) -> Response:
        return self._change(pk, person_changes(_attributes(request).items()))

    def partial_update(self, request: Request, pk: str) -> Response:
        asked = ((each.path, None if each.verb == "remove" else each.value) for each in operations(request.data))
        return self._change(pk, person_changes(asked))

    def destroy(self, request: Request, pk: str) -> Response:
        self._change(pk, {"active": False})
        return Response(status=204)

    def _change(self, pk: str, changes: dict[str, Any]) -> Response:
        user = self.row(pk)
        with transaction.atomic():
            entry = directory.change_directory_person(organization=self.organization, user=user, **changes)
            require(self.person, "change", entry)
        return self.answer(user.pk)


class GroupsView(ResourceView):
    """What a group means, `GroupMapping` says, by its displayName or its externalId."""

    queryset = DirectoryGroup.objects.all()

    def seen(self) -> QuerySet[DirectoryGroup]:
        rows = DirectoryGroup.objects.filter(organization=self.organization).prefetch_related("members")
        return visible(rows, self.person)

    def shown(self, row: DirectoryGroup) -> dict[str, Any]:
        excluded = self.request.query_params.get("excludedAttributes", "").lower().split(",")
        return shown_group(row, base=self.base, with_members="members" not in excluded)

    def meant(self, path: str, value: str) -> Q:
        member = Q(members=int(value)) if value.isdecimal() and len(value) < 19 else Q(pk__in=[])
        known = {
            "displayname": Q(name=value),
            "externalid": Q(external_id=value),
            "id": _by_id(value),
            "members": member,
            "members.value": member,
        }
        return _chosen(known, path)

    def create(self, request: Request) -> Response:
        given = _attributes(request)
        with transaction.atomic():
            group = directory.create_group(
                organization=self.organization,
                name=text_of("displayName", given.get("displayname")),
                external_id=text_of("externalId", given.get("externalid")),
                members=self._people(member_ids(given.get("members") or [])),
            )
            require(self.person, "add", group)
        return self.answer(group.pk, status=201)

    def update(self, request: Request, pk: str) -> Response:
        group, given = self.row(pk), _attributes(request)
        with transaction.atomic():
            require(self.person, "change", group)
            directory.rename_group(group, **_names(given))
            if "members" in given:
                directory.set_members(group, self._people(member_ids(given["members"] or [])))
        return self.answer(group.pk)

    def partial_update(self, request: Request, pk: str) -> Response:
        """204: Entra ID asks that members be not listed in the answer, and Okta takes it too."""
        group = self.row(pk)
        with transaction.atomic():
            require(self.person, "change", group)
            for operation in operations(request.data):
                self._carry_out(group, operation)
        return Response(status=204)

    def destroy(self, request: Request, pk: str) -> Response:
        group = self.row(pk)
        require(self.person, "delete", group)
        directory.remove_group(group)
        return Response(status=204)

    def _carry_out(self, group: DirectoryGroup, operation: Operation) -> None:
        if operation.path == "members":
            directory.set_members(group, self._members_after(group, operation))
        elif operation.verb != "remove":
            directory.rename_group(group, **_names({operation.path: operation.value}))

    def _members_after(self, group: DirectoryGroup, operation: Operation) -> list[User]:
        before = list(DirectoryGroup.objects.get(pk=group.pk).members.all())
        if operation.verb == "add":
            return before + self._people(member_ids(operation.value or []))
        if operation.verb == "replace":
            return self._people(member_ids(operation.value or []))
        if operation.chosen is not None:
            return [user for user in before if str(user.pk) != operation.chosen]
        going = member_ids(operation.value) if operation.value else {user.pk for user in before}
        return [user for user in before if user.pk not in going]

    def _people(self, ids: set[int]) -> list[User]:
        people = visible(people_of(self.organization).filter(is_service=False, pk__in=ids), self.person)
        found = list(people)
        if len(found) < len(ids):
            raise ScimError("invalidValue", "Each of members has the id of a User as its value.")
        return found


def _names(given: dict[str, Any]) -> dict[str, str]:
    names = {"displayname": "name", "externalid": "external_id"}
    return {names[path]: text_of(path, value) for path, value in given.items() if path in names}


def _attributes(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise ScimError("invalidSyntax", "The body is a JSON object.")
    given: dict[str, Any] = folded(request.data)
    return given


def _by_id(text: str) -> Q:
    return Q(pk=int(text)) if text.isdecimal() and len(text) < 19 else Q(pk__in=[])


def _chosen(known: dict[str, Q], path: str) -> Q:
    if path not in known:
        raise ScimError("invalidFilter", f"Filters are by {', '.join(known)}.")
    return known[path]
