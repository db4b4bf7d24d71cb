"""What every resource of the REST API has in common, and the health check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.exceptions import NotFound, ParseError, PermissionDenied, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from control_plane.api.callers import Caller, Scope, caller_of
from control_plane.api.etags import etag_of, wanted_etags
from control_plane.api.idempotency import Replayed, claim, settle
from control_plane.api.models import StoredAnswer
from control_plane.api.problems import Conflict
from control_plane.live import live_state
from control_plane.rights.person import Person, person_of
from control_plane.rights.rules import Action
from control_plane.rights.scope import changeable_fields, may, require, visible
from kong_plugins.llm.errors import StoreUnavailable

if TYPE_CHECKING:
    from control_plane.teams.models import Organization

Row = TypeVar("Row", bound=Model)


class Pages(CursorPagination):
    """Pages by cursor, in the order of the primary key: `{"next", "previous", "results"}`."""

    ordering = "pk"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1_000


class ApiView(APIView):
    """A door of the API: open to callers whose token has its `scope`. Writes with an Idempotency-Key happen once."""

    scope: ClassVar[Scope]
    _claimed: StoredAnswer | None = None

    @property
    def caller(self) -> Caller:
        return caller_of(self.request)

    @property
    def organization(self) -> Organization:
        """The one that the caller is in."""
        return self.caller.organization

    @property
    def person(self) -> Person:
        return person_of(self.caller.user)

    @property
    def actor(self) -> str:
        return self.caller.user.get_username()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self._claimed = claim(request)

    def handle_exception(self, exc: Exception) -> Any:
        return exc.response if isinstance(exc, Replayed) else super().handle_exception(exc)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().dispatch(request, *args, **kwargs)
        if self._claimed is not None:
            settle(self._claimed, response)
        return response

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        finished = super().finalize_response(request, response, *args, **kwargs)
        if request.method in ("POST", "PATCH", "DELETE") and isinstance(request.auth, Caller):
            self._say_whether_live(finished)
        return finished

    def _say_whether_live(self, response: Any) -> None:
        if response.status_code < 400 and "x-bursar-live" not in response:
            self.organization.refresh_from_db(fields=["behind_since"])
            response["x-bursar-live"] = "false" if self.organization.behind_since else "true"


class OrganizationViewSet(
    ApiView,
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet[Row],
):
    """List, retrieve, create and PATCH those rows of the caller's organization that the caller's rights reach.

    A write answers after it was published; `x-bursar-live: false` says that Redis could not be reached, and that
    the change becomes live as soon as it can. Of what was read, the ETag names the version; a PATCH that sends it back
    as If-Match is refused with 409 where somebody else was faster.
    """

    http_method_names: Sequence[str] = ("get", "post", "patch", "head", "options")
    pagination_class = Pages
    organization_path: ClassVar[str] = "organization"
    # Query parameter of a list → the field that it filters by.
    filters: ClassVar[dict[str, str]] = {}
    # A write by POST to a row's own address → the right that it needs, where that is not to change the row.
    rights: ClassVar[dict[str, Action]] = {}

    def get_queryset(self) -> QuerySet[Row]:
        return self.seen(super().get_queryset().filter(**{self.organization_path: self.organization}))

    def seen(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """What the caller sees of the rows, and for a list has asked for."""
        rows = visible(rows, self.person)
        return rows.filter(**self._chosen()) if self.action == "list" else rows

    def get_object(self) -> Row:
        """The row of this address; one that the caller sees but may not change is refused to a change."""
        row: Row = super().get_object()
        if self.request.method not in SAFE_METHODS:
            require(self.person, self.rights.get(self.action, "change"), row)
        return row

    def perform_create(self, serializer: BaseSerializer[Row]) -> None:
        """Make the row and take it back if the caller may not make such a one."""
        if not may(self.person, "add", self.get_queryset().model):
            raise PermissionDenied
        with transaction.atomic():
            require(self.person, "add", serializer.save())

    def perform_update(self, serializer: BaseSerializer[Row]) -> None:
        """Change the row, and take it back if it is not the caller's to change then."""
        assert serializer.instance is not None
        fields = changeable_fields(self.person, serializer.instance)
        if fields is not None and (others := sorted(set(serializer.validated_data) - fields)):
            raise PermissionDenied(f"You may not change this: {', '.join(others)}.")
        with transaction.atomic():
            self._refuse_if_others_were_faster(serializer.instance)
            require(self.person, "change", serializer.save())

    def _refuse_if_others_were_faster(self, seen: Row) -> None:
        """See that a row still is what If-Match says; it is locked until the change is committed.

        Raises:
            Conflict: it is not.
        """
        header = self.request.headers.get("If-Match")
        if header is None:
            return
        wanted = wanted_etags(header)
        type(seen)._default_manager.select_for_update().get(pk=seen.pk)
        current = self._etag_of(self.get_serializer(self.get_queryset().get(pk=seen.pk)).data)
        if current not in wanted and "*" not in wanted:
            raise Conflict("Somebody has changed it since you read it: read it again, then change it.")

    def _etag_of(self, shown: Mapping[str, Any]) -> str:
        serializer: Any = self.get_serializer_class()
        return etag_of(shown, without=getattr(serializer, "changes_by_itself", frozenset()))

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            return super().list(request, *args, **kwargs)
        except ValueError as error:
            raise ParseError("The cursor or a filter has a value that cannot be compared.") from error

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        with_etag = self.action in ("create", "retrieve", "partial_update") and isinstance(response, Response)
        if with_etag and response.status_code < 400:
            response["etag"] = self._etag_of(response.data)
        return super().finalize_response(request, response, *args, **kwargs)

    def _chosen(self) -> dict[str, str]:
        """The filters that the query asks for; one that does not exist is an error, not the whole list."""
        given = self.request.query_params
        if unknown := sorted(set(given) - {*self.filters, "cursor", "page_size"}):
            raise ValidationError(dict.fromkeys(unknown, "There is no such filter."))
        return {path: given[name] for name, path in self.filters.items() if name in given}


class NoSuchAddressView(APIView):
    """404 for every address that there is not, as the API says all that it cannot do."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound


class LivenessSerializer(serializers.Serializer[Any]):
    status = serializers.CharField()


class LivenessView(APIView):
    """200 as long as this process answers at all; one that does not is to be started anew."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(responses=LivenessSerializer)
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class HealthSerializer(serializers.Serializer[Any]):
    """ok, or unavailable."""

    status = serializers.CharField()
    database = serializers.CharField()
    redis = serializers.CharField()


class HealthView(APIView):
    """200 when the database and Redis both answer, else 503, and no requests are to be sent here for the time being;
    needs no token and tells no more."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(responses={200: HealthSerializer, 503: HealthSerializer})
    def get(self, request: Request) -> Response:
        parts = {"database": self._database_answers(), "redis": self._redis_answers()}
        healthy = all(parts.values())
        body = {"status": "ok" if healthy else "unavailable"} | {
            name: "ok" if answers else "unavailable" for name, answers in parts.items()
        }
        return Response(body, status=200 if healthy else 503)

    def _database_answers(self) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError:
            return False
        return True

    def _redis_answers(self) -> bool:
        try:
            live_state().ping()
        except StoreUnavailable:
            return False
        return True
