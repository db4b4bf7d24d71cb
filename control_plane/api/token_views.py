"""API tokens over the REST API."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error

from control_plane.api.models import ApiToken
from control_plane.api.services import Issuer, revoke_token, rotate_token
from control_plane.api.token_serializers import RotationSerializer, TokenSerializer
from control_plane.api.views import OrganizationViewSet


class TokenViewSet(OrganizationViewSet[ApiToken]):
    """Tokens of the caller, and for those who may see them all of the organization. None may do more than its user,
    nor more than the token that it was made with."""

    scope = "admin"
    queryset = ApiToken.objects.select_related("user")
    serializer_class = TokenSerializer
    filters = {"name": "name", "username": "user__username", "prefix": "prefix"}

    @extend_schema(request=RotationSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give it another secret, which is in the answer and nowhere else."""
        row = self.get_object()
        asked = RotationSerializer(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        try:
            token, secret = rotate_token(row.pk, issuer=Issuer.of(self.caller), grace=asked.grace)
        except ModelValidationError as error:
            raise ValidationError(as_serializer_error(error)) from error
        return Response(self.get_serializer(token).data | {"token": secret})

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End its use at once."""
        return Response(self.get_serializer(revoke_token(self.get_object().pk)).data)
