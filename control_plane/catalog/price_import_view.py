"""List prices over the REST API: what has changed is shown first, and applied on request."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.problems import Conflict
from control_plane.api.serializers import StrictSerializer
from control_plane.api.views import ApiView
from control_plane.catalog.listed_prices import SOURCE
from control_plane.catalog.models import Price
from control_plane.catalog.price_import import Finding, apply, fingerprint, look_up
from control_plane.rights.scope import may


class ChosenPrices(StrictSerializer[Price]):
    fingerprints = serializers.ListField(child=serializers.CharField(max_length=64), allow_empty=False)


class PriceChange(serializers.Serializer[Any]):
    effective_from = serializers.DateTimeField(allow_null=True, help_text="null: from when it is applied.")
    difference = serializers.ListField(child=serializers.CharField(), help_text="Lines taken away (-) and added (+).")


class DeploymentFinding(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    model = serializers.CharField()
    provider = serializers.CharField()
    changes = PriceChange(many=True)
    fingerprint = serializers.CharField(allow_null=True)
    remark = serializers.CharField(allow_null=True)


class ImportPreview(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]
    deployments = DeploymentFinding(many=True)


class ImportResult(serializers.Serializer[Any]):
    added = serializers.IntegerField(help_text="Rows of the price book.")


class PriceImportView(ApiView):
    """What the list says of each active deployment, and whose price would change; a price that was set by hand stays.

    Each change has a fingerprint. POST those that are to go into the price book: all of them, or with 409 none, where
    one no longer is what was seen.
    """

    scope = "catalog"

    @extend_schema(responses=ImportPreview)
    def get(self, request: Request) -> Response:
        self._check_rights()
        found = look_up(self.organization.pk, now=timezone.now())
        return Response({"source": SOURCE, "deployments": [_shown(finding) for finding in found]})

    @extend_schema(request=ChosenPrices, responses=ImportResult)
    def post(self, request: Request) -> Response:
        self._check_rights()
        chosen = ChosenPrices(data=request.data, context={"request": request})
        chosen.is_valid(raise_exception=True)
        wanted, now = set(chosen.validated_data["fingerprints"]), timezone.now()
        found = {fingerprint([each]): each for each in look_up(self.organization.pk, now=now) if each.proposals}
        if not wanted <= found.keys():
            raise Conflict("A price has changed since you saw it: look again, then apply.")
        added = apply(self.organization.pk, [found[each] for each in wanted], actor=self.actor, now=now)
        return Response({"added": added})

    def _check_rights(self) -> None:
        if not may(self.person, "add", Price):
            raise PermissionDenied


def _shown(finding: Finding) -> dict[str, Any]:
    changes = [{"effective_from": proposal.since, "difference": proposal.difference} for proposal in finding.proposals]
    return {
        "deployment": finding.deployment.pk,
        "model": finding.deployment.model.name,
        "provider": finding.deployment.provider.name,
        "changes": changes,
        "fingerprint": fingerprint([finding]) if changes else None,
        "remark": finding.remark or None,
    }
