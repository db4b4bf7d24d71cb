"""A declarative configuration made ready to serve: its router, and the plugins of each route.

It is built as a whole or refused as a whole. An exchange keeps the one with which it began.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from minikong.declarative import Declaration, check_declaration, read_declaration
from minikong.declarative import Plugin as PluginEntity
from minikong.errors import ConfigurationError
from minikong.plan import ConfiguredPlugin, Plan, Plans, Plugin, Scope
from minikong.router import Router

EMPTY_HASH: Final = "0" * 32
_EMPTY: Final = {"_format_version": "3.0"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What decides over a request."""

    hash: str
    declaration: Declaration
    router: Router
    plans: Mapping[str, Plan]
    plan_of_all: Plan

    def entities(self) -> dict[str, dict[str, Any]]:
        """The entities by kind and id, as Kong answers a POST /config."""
        kinds = (
            ("services", self.declaration.services),
            ("routes", self.declaration.routes),
            ("plugins", self.declaration.plugins),
        )
        return {kind: {entity.id: msgspec.to_builtins(entity) for entity in entities} for kind, entities in kinds}


class Compiler:
    """Builds configurations for the plugins that are installed."""

    def __init__(self, installed: Mapping[str, Plugin]) -> None:
        self._installed = installed
        # A number that no config had before: a plugin server starts a new instance when it changes.
        self._seq = itertools.count(1)

    def empty(self) -> Configuration:
        """What Kong serves before it has a configuration: no route matches."""
        return self._compile(check_declaration(_EMPTY), EMPTY_HASH)

    def compile_text(self, text: str) -> Configuration:
        """From YAML or JSON; raises ConfigurationError."""
        return self._compile(read_declaration(text), text_hash(text))

    def compile_document(self, document: Mapping[str, Any]) -> Configuration:
        """From a parsed document; raises ConfigurationError."""
        return self._compile(check_declaration(document), text_hash(msgspec.json.encode(document, order="sorted")))

    def _compile(self, declaration: Declaration, document_hash: str) -> Configuration:
        configured: dict[tuple[str, Scope], ConfiguredPlugin] = {}
        for entity in declaration.plugins:
            plugin = self._configure(entity)
            if entity.enabled:
                configured[entity.name, _scope(entity)] = plugin
        plans = Plans(configured)
        return Configuration(
            hash=document_hash,
            declaration=declaration,
            router=Router(declaration.routes, {service.id: service for service in declaration.services}),
            plans={
                route.id: plans.for_route(route.id, str(route.service) if route.service else None)
                for route in declaration.routes
            },
            plan_of_all=plans.of_all,
        )

    def _configure(self, entity: PluginEntity) -> ConfiguredPlugin:
        plugin = self._installed.get(entity.name)
        if plugin is None:
            raise ConfigurationError(
                f"plugin '{entity.name}' not enabled; add it to the 'plugins' configuration property"
            )
        for scope in ("route", "service"):
            if getattr(entity, scope) and scope in plugin.schema.forbidden_scopes:
                raise ConfigurationError(f"plugin {entity.name}: {scope}: value must be null")
        return ConfiguredPlugin(
            plugin,
            identifier=entity.id,
            seq=next(self._seq),
            scope=_scope(entity),
            config=plugin.schema.complete(entity.config),
        )


def text_hash(text: str | bytes) -> str:
    """Kong's hash of a document: it tells one from another, no more."""
    content = text.encode() if isinstance(text, str) else text
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _scope(entity: PluginEntity) -> Scope:
    return (
        str(entity.route) if entity.route else None,
        str(entity.service) if entity.service else None,
    )
