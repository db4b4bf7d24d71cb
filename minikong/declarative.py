"""Kong's declarative configuration, `_format_version` "3.0": its entities, their defaults and their references.

Field names, defaults and ids are Kong's (kong/db/schema/entities, kong/db/schema/others/declarative_config.lua).
A field or an entity that minikong does not know is an error that names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID, uuid4, uuid5

import msgspec
import yaml

from minikong.errors import ConfigurationError

_ENTITIES_NAMESPACE: Final = UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 2)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Path = Annotated[str, msgspec.Meta(pattern="^/")]
RoutePath = Annotated[str, msgspec.Meta(pattern="^~?/")]
Method = Annotated[str, msgspec.Meta(pattern="^[A-Z]+$")]
HttpProtocol = Literal["http", "https"]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an entity names another one, where it does not just give the name or the id."""

    id: str | None = None
    name: str | None = None


class Entity(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every entity has; tags and times have no effect on a request, in Kong neither."""

    id: str = ""
    tags: list[str] | None = None
    created_at: int | None = None
    updated_at: int | None = None


class Plugin(Entity, kw_only=True):
    """A plugin at one scope: global, a service, a route, or a route together with a service."""

    name: str
    instance_name: str | None = None
    config: dict[str, Any] | None = None
    enabled: bool = True
    protocols: list[str] | None = None
    service: str | Reference | None = None
    route: str | Reference | None = None


class Route(Entity, kw_only=True):
    """Which requests go to a service. `path_handling` "v1" and TLS-only routes are Kong's alone."""

    name: str | None = None
    protocols: list[HttpProtocol] = msgspec.field(default_factory=lambda: ["http", "https"])
    methods: list[Method] | None = None
    hosts: list[str] | None = None
    paths: list[RoutePath] | None = None
    headers: dict[str, list[str]] | None = None
    regex_priority: int = 0
    strip_path: bool = True
    path_handling: Literal["v0"] = "v0"
    preserve_host: bool = False
    https_redirect_status_code: int = 426
    request_buffering: bool = True
    response_buffering: bool = True
    service: str | Reference | None = None
    plugins: list[Plugin] = []


class Service(Entity, kw_only=True):
    """Where requests go. Timeouts are in milliseconds, under Kong's names."""

    name: str | None = None
    url: str | None = None
    protocol: HttpProtocol = "http"
    host: str = ""
    port: Port = 80
    path: Path | None = None
    retries: int = 5
    connect_timeout: Milliseconds = 60_000
    write_timeout: Milliseconds = 60_000
    read_timeout: Milliseconds = 60_000
    tls_verify: bool = False
    enabled: bool = True
    routes: list[Route] = []
    plugins: list[Plugin] = []


class Declaration(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole document, with all references resolved: `service` and `route` hold ids, nothing is nested."""

    format_version: Literal["3.0"] = msgspec.field(name="_format_version")
    transform: bool = msgspec.field(name="_transform", default=True)
    info: dict[str, Any] | None = msgspec.field(name="_info", default=None)
    comment: str | None = msgspec.field(name="_comment", default=None)
    services: list[Service] = []
    routes: list[Route] = []
    plugins: list[Plugin] = []
    consumers: list[Any] = []

    def notices(self) -> list[str]:
        """What the document says that has no effect here."""
        said = ["consumers are ignored"] if self.consumers else []
        said += [
            f"service {label(service)}: one try only, not retries {service.retries}"
            for service in self.services
            if service.retries
        ]
        said += [
            f"route {label(route)}: a request is always buffered"
            for route in self.routes
            if not route.request_buffering
        ]
        return said


def read_declaration(text: str) -> Declaration:
    """Read YAML or JSON; raises ConfigurationError."""
    try:
        return check_declaration(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"neither YAML nor JSON: {error}") from error


def check_declaration(document: Any) -> Declaration:
    """Check a parsed document and resolve its references; raises ConfigurationError."""
    try:
        declaration = msgspec.convert(document, Declaration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error)) from error
    _flatten(declaration)
    for service in declaration.services:
        _complete_service(service)
    for route in declaration.routes:
        _check_route(route)
    _resolve(declaration)
    return declaration


def label(entity: Service | Route | Plugin) -> str:
    """How a message names an entity."""
    return entity.name or entity.id


def _flatten(declaration: Declaration) -> None:
    """Move what is nested to the top, with a reference to where it was."""
    _give_ids("services", declaration.services)
    for service in declaration.services:
        for route in service.routes:
            route.service = _nested_in(route.service, service)
        for plugin in service.plugins:
            plugin.service = _nested_in(plugin.service, service)
        declaration.routes += service.routes
        declaration.plugins += service.plugins
        service.routes, service.plugins = [], []
    _give_ids("routes", declaration.routes)
    for route in declaration.routes:
        for plugin in route.plugins:
            plugin.route = _nested_in(plugin.route, route)
        declaration.plugins += route.plugins
        route.plugins = []


def _nested_in(reference: str | Reference | None, parent: Service | Route) -> str:
    if reference is not None and _key(reference) not in (parent.id, parent.name):
        raise ConfigurationError(f"an entity inside {label(parent)} refers to {_key(reference)}")
    return parent.id


def _give_ids(kind: str, entities: Iterable[Service | Route]) -> None:
    seen: set[str] = set()
    for entity in entities:
        entity.id = entity.id or (_stable_id(kind, entity.name) if entity.name else str(uuid4()))
        for key in dict.fromkeys(filter(None, (entity.name, entity.id))):
            if key in seen:
                raise ConfigurationError(f"{kind}: {key} is declared twice")
            seen.add(key)


def _stable_id(kind: str, key: str) -> str:
    return str(uuid5(uuid5(_ENTITIES_NAMESPACE, kind), key))


def _complete_service(service: Service) -> None:
    """Take the shorthand `url` apart, as Kong does."""
    if service.url is not None:
        if service.host:
            raise ConfigurationError(f"service {label(service)}: both url and host")
        parts = urlsplit(service.url)
        if parts.scheme not in ("http", "https"):
            raise ConfigurationError(f"service {label(service)}: url {service.url} is neither http nor https")
        service.protocol = "https" if parts.scheme == "https" else "http"
        service.host = parts.hostname or ""
        service.port = parts.port or (443 if parts.scheme == "https" else 80)
        service.path = parts.path or None
    if not service.host:
        raise ConfigurationError(f"service {label(service)}: host is missing")


def _check_route(route: Route) -> None:
    if "http" not in route.protocols:
        raise ConfigurationError(f"route {label(route)}: minikong has no TLS, so protocols must include http")
    if not (route.methods or route.hosts or route.headers or route.paths):
        raise ConfigurationError(f"route {label(route)}: must set one of methods, hosts, headers, paths")
    if route.headers and any(name.lower() == "host" for name in route.headers):
        raise ConfigurationError(f"route {label(route)}: a host belongs in hosts, not in headers")


def _resolve(declaration: Declaration) -> None:
    services, routes = _by_key(declaration.services), _by_key(declaration.routes)
    for route in declaration.routes:
        route.service = _referred(route.service, services, f"route {label(route)}")
    scopes: set[tuple[str, Any, Any]] = set()
    for plugin in declaration.plugins:
        plugin.service = _referred(plugin.service, services, f"plugin {plugin.name}")
        plugin.route = _referred(plugin.route, routes, f"plugin {plugin.name}")
        scope = (plugin.name, plugin.route, plugin.service)
        if scope in scopes:
            raise ConfigurationError(f"plugin {plugin.name} is declared twice at one scope")
        scopes.add(scope)
        plugin.id = plugin.id or _stable_id("plugins", ":".join(key or "" for key in scope))


def _by_key(entities: Iterable[Service | Route]) -> dict[str, str]:
    """Name or id → id."""
    return {key: entity.id for entity in entities for key in (entity.name, entity.id) if key}


def _referred(reference: str | Reference | None, ids: dict[str, str], whose: str) -> str | None:
    if reference is None:
        return None
    key = _key(reference)
    if key not in ids:
        raise ConfigurationError(f"{whose} refers to {key}, which is not declared")
    return ids[key]


def _key(reference: str | Reference) -> str:
    if isinstance(reference, str):
        return reference
    return reference.id or reference.name or ""
