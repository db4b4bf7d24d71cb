"""What this SCIM server can do, and which attributes it keeps (RFC 7643, sections 5 to 7)."""

from __future__ import annotations

from typing import Any, Final

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.identity.scim.protocol import MOST_A_PAGE, ScimView, list_response
from control_plane.identity.scim.resources import GROUP_SCHEMA, USER_SCHEMA

_SCHEMAS: Final = "urn:ietf:params:scim:schemas:core:2.0"
_CONFIGURATION: Final[dict[str, Any]] = {
    "schemas": [f"{_SCHEMAS}:ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
    "filter": {"supported": True, "maxResults": MOST_A_PAGE},
    "changePassword": {"supported": False},
    "sort": {"supported": False},
    "etag": {"supported": False},
    "authenticationSchemes": [
        {
            "type": "oauthbearertoken",
            "name": "API token",
            "description": "An API token of scope scim, as a bearer token",
            "primary": True,
        }
    ],
}


def _attribute(name: str, kind: str = "string", **differing: Any) -> dict[str, Any]:
    usual = {"multiValued": False, "required": False, "mutability": "readWrite", "returned": "default"}
    texts = {"caseExact": False, "uniqueness": "none"} if kind == "string" else {}
    return {"name": name, "type": kind, "description": name, **usual, **texts, **differing}


_READ: Final[dict[str, Any]] = {"mutability": "readOnly"}
_LISTED: Final = [_attribute("value"), _attribute("display", **_READ)]
_ATTRIBUTES: Final[dict[str, list[dict[str, Any]]]] = {
    USER_SCHEMA: [
        _attribute("userName", required=True, uniqueness="server"),
        _attribute("name", "complex", subAttributes=[_attribute("givenName"), _attribute("familyName")]),
        _attribute("displayName", **_READ),
        _attribute(
            "emails",
            "complex",
            multiValued=True,
            subAttributes=[_attribute("value"), _attribute("type"), _attribute("primary", "boolean")],
        ),
        _attribute("active", "boolean"),
        _attribute("groups", "complex", multiValued=True, subAttributes=_LISTED, **_READ),
    ],
    GROUP_SCHEMA: [
        _attribute("displayName", required=True, caseExact=True, uniqueness="server"),
        _attribute("members", "complex", multiValued=True, subAttributes=_LISTED),
    ],
}


class ConfigurationView(ScimView):
    def get(self, request: Request) -> Response:
        return Response(_CONFIGURATION | {"meta": _meta(request, "ServiceProviderConfig", "ServiceProviderConfig")})


class _KindsView(ScimView):
    """A list of what there is one of for each kind of resource, and each by its id."""

    def kinds(self, request: Request) -> list[dict[str, Any]]:
        raise NotImplementedError

    def get(self, request: Request, resource: str | None = None) -> Response:
        found = self.kinds(request)
        if resource is None:
            return list_response(found)
        chosen = next((each for each in found if each["id"] == resource), None)
        if chosen is None:
            raise NotFound
        return Response(chosen)


class ResourceTypesView(_KindsView):
    def kinds(self, request: Request) -> list[dict[str, Any]]:
        return [
            {
                "schemas": [f"{_SCHEMAS}:ResourceType"],
                "id": name,
                "name": name,
                "endpoint": f"/{name}s",
                "schema": schema,
                "meta": _meta(request, "ResourceType", f"ResourceTypes/{name}"),
            }
            for name, schema in (("User", USER_SCHEMA), ("Group", GROUP_SCHEMA))
        ]


class SchemasView(_KindsView):
    def kinds(self, request: Request) -> list[dict[str, Any]]:
        return [
            {
                "schemas": [f"{_SCHEMAS}:Schema"],
                "id": schema,
                "name": schema.rsplit(":", 1)[1],
                "attributes": attributes,
                "meta": _meta(request, "Schema", f"Schemas/{schema}"),
            }
            for schema, attributes in _ATTRIBUTES.items()
        ]


class NoSuchAddressView(ScimView):
    """404 for every address that there is not, as SCIM says it."""

    authentication_classes = ()
    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound


def _meta(request: Request, kind: str, path: str) -> dict[str, str]:
    return {"resourceType": kind, "location": request.build_absolute_uri(f"/scim/v2/{path}")}
