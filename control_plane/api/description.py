"""How the REST API describes itself (OpenAPI 3.1): what an address takes, gives and refuses, and its scope."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular import extensions, openapi
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from control_plane.api.callers import SCOPES_IN_WORDS
from control_plane.api.idempotency import HEADER

# Neither has types that hold.
_AutoSchema: Any = openapi.AutoSchema
_Authentication: Any = extensions.OpenApiAuthenticationExtension

_IDEMPOTENCY_KEY: Final = OpenApiParameter(
    HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Send the same request with the same key again, and it is carried out once: within 24 hours the answer "
    "is that of the first, with `idempotency-replayed: true`.",
)
_IF_MATCH: Final = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The ETag of what you have read. If somebody has changed it since, the answer is 409.",
)


class FieldProblem(serializers.Serializer[Any]):
    field = serializers.CharField(allow_null=True, help_text="The name of the field, parameter or header.")
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """Problem details (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"errors": FieldProblem(many=True, required=False)}


_PROBLEMS: Final = {
    400: "The request cannot be understood; `errors` names each field.",
    401: "No valid API token, and no session.",
    403: "The token's scopes or its user's rights do not go that far.",
    404: "There is no such row, or you may not see it.",
    405: "The address has no such method.",
    409: "Somebody else was faster, or the same request is being carried out.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key was used for another request.",
    503: "The live state cannot be reached.",
}


class Description(_AutoSchema):  # type: ignore[misc]
    """What views say of themselves by their scope, filters and serializers."""

    def get_tags(self) -> list[str]:
        return [getattr(self.view, "scope", "open")]

    def get_summary(self) -> str | None:
        """The first sentence of what the method, or else its view, says of itself."""
        said = super().get_description() or ""
        sentence: str = said.replace("\n", " ").split(". ")[0].split(": ")[0].rstrip(".")
        return sentence or None

    def get_description(self) -> str:
        said = super().get_description() or ""
        scope = getattr(self.view, "scope", None)
        return f"{said}\n\nScope: `{scope}`." if scope else said

    def get_override_parameters(self) -> list[Any]:
        headers = {"POST": [_IDEMPOTENCY_KEY], "PATCH": [_IDEMPOTENCY_KEY, _IF_MATCH]}.get(self.method, [])
        return [*headers, *self._filters()]

    def _filters(self) -> list[OpenApiParameter]:
        if getattr(self.view, "action", None) != "list":
            return []
        return [OpenApiParameter(name, OpenApiTypes.STR, description="Exactly this.") for name in self.view.filters]

    def _get_response_bodies(self, direction: str = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        writes = self.method in ("POST", "PATCH", "DELETE")
        codes = [400, 401, 403, 404, *([409, 415, 422] if writes else []), 503]
        for code in codes if hasattr(self.view, "scope") else ():
            described = OpenApiResponse(Problem, description=_PROBLEMS[code])
            bodies.setdefault(
                str(code),
                self._get_response_for_code(described, str(code), ["application/problem+json"], direction),
            )
        return bodies

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Any:
        """With what an answer shows beside the fields that a request can have."""
        schema = super()._map_basic_serializer(serializer, direction)
        if direction == "response":
            for name, field in getattr(serializer, "also_shown", {}).items():
                schema["properties"][name] = self._map_serializer_field(field, direction)
            if getattr(serializer, "shows_empty_as_null", False):
                schema["properties"] = {name: _or_null(each) for name, each in schema["properties"].items()}
        if direction == "request" and "properties" in schema:
            schema["additionalProperties"] = False
        return schema


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A text of which the answer may say that there is none."""
    if schema.get("type") == "string":
        return {**schema, "type": ["string", "null"]}
    return {"oneOf": [schema, {"type": "null"}]} if "$ref" in schema or "allOf" in schema else schema


class TokenScheme(_Authentication):  # type: ignore[misc]
    target_class = "control_plane.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token bsa_…`. " + "; ".join(f"`{name}`: {text}" for name, text in SCOPES_IN_WORDS.items()),
        }


class SessionScheme(_Authentication):  # type: ignore[misc]
    target_class = "control_plane.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "bursar_session",
            "description": "A session in the admin; writes bring its CSRF token as X-CSRFToken. Who has several "
            "organizations names one in X-Bursar-Organization.",
        }
