"""How the ledger itself stands, over the REST API: what it could not take, and whether the books agree."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.views import ApiView, OrganizationViewSet
from control_plane.ledger.models import DeadLetter, Reconciliation
from control_plane.ledger.serializers import BooksSerializer, DeadLetterSerializer
from control_plane.rights.scope import may, visible


class DeadLetterViewSet(OrganizationViewSet[DeadLetter]):
    """Events that the ledger could not take, whole, so that a person can read them."""

    scope = "spend"
    http_method_names = ("get", "head", "options")
    queryset = DeadLetter.objects.all()
    serializer_class = DeadLetterSerializer
    filters = {"type": "type"}

    def get_queryset(self) -> QuerySet[DeadLetter]:
        return self.seen(DeadLetter.objects.filter(organization=self.organization.slug))


class BooksView(ApiView):
    """The newest comparison of the books: events, their sums, and what Redis says was spent."""

    scope = "spend"

    @extend_schema(responses=BooksSerializer)
    def get(self, request: Request) -> Response:
        if not may(self.person, "view", Reconciliation):
            raise PermissionDenied
        rows = Reconciliation.objects.filter(organization=self.organization.slug)
        newest = visible(rows, self.person).first()
        if newest is None:
            raise NotFound("The books were not compared yet.")
        return Response(BooksSerializer(newest).data)
