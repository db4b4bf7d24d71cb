"""Plugin schemas: Kong's schema language as far as JSON can express it, to check a config and to fill its defaults.

An attribute that minikong cannot honour is refused when the plugin is loaded, so that no check is silently skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from minikong.errors import ConfigurationError, PluginError

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "set": (list,),
    "map": (dict,),
    "record": (dict,),
}
_DESCRIPTIVE: Final = {"description", "referenceable", "encrypted", "err"}
_CHECKED: Final = {
    *("type", "required", "default", "one_of", "not_one_of", "eq", "between", "gt", "len_min", "len_max", "len_eq"),
    *("elements", "keys", "values", "fields", "match"),
}

# Whether a Lua pattern is found in a text; the Lua runtime answers it.
Find = Callable[[str, str], bool]


class Field:
    """One field of a schema and what it holds."""

    def __init__(self, definition: Mapping[str, Any], name: str, find: Find) -> None:
        unknown = definition.keys() - _CHECKED - _DESCRIPTIVE
        if unknown or definition.get("type") not in _TYPES:
            problem = f"attribute {', '.join(sorted(unknown))}" if unknown else f"type {definition.get('type')}"
            raise PluginError(f"schema field {name}: minikong does not do {problem}")
        self._name = name
        self._definition = definition
        self._type: str = definition["type"]
        self._find = find
        self._elements = self._inner("elements")
        self._values = self._inner("values")
        self._keys = self._inner("keys")
        fields = _definitions(definition.get("fields", ()), name)
        self._fields = {inner: Field(fields[inner], f"{name}.{inner}", find) for inner in fields}

    def complete(self, value: Any) -> Any:
        """The value with defaults filled in; raises ConfigurationError that names the field."""
        if value is None:
            value = self._default()
        if value is None:
            if self._definition.get("required"):
                raise self._error("required field missing")
            return None
        self._check_type(value)
        if self._type == "record":
            value = self._complete_record(value)
        elif self._elements:
            value = [self._elements.complete(item) for item in value]
        elif self._values:
            value = {self._key(key): self._values.complete(item) for key, item in value.items()}
        self._check_value(value)
        return value

    def _inner(self, attribute: str) -> Field | None:
        definition = self._definition.get(attribute)
        return Field(definition, f"{self._name}.{attribute}", self._find) if definition else None

    def _default(self) -> Any:
        default = self._definition.get("default")
        if default is None and self._type == "record" and self._definition.get("required"):
            return {}
        if default == [] and self._type in ("map", "record"):
            return {}
        return default

    def _key(self, key: str) -> Any:
        return self._keys.complete(key) if self._keys else key

    def _complete_record(self, value: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(value.keys() - self._fields.keys())
        if unknown:
            raise self._error(f"unknown field {', '.join(unknown)}")
        completed = {name: field.complete(value.get(name)) for name, field in self._fields.items()}
        return {name: item for name, item in completed.items() if item is not None}

    def _check_type(self, value: Any) -> None:
        fits = isinstance(value, _TYPES[self._type])
        if isinstance(value, bool) and self._type != "boolean":
            fits = False
        if isinstance(value, float) and value.is_integer() and self._type == "integer":
            fits = True
        if not fits:
            raise self._error(f"expected {self._type}")
        if isinstance(value, str) and value.startswith("{vault://"):
            raise self._error("minikong resolves no vault references")

    def _check_value(self, value: Any) -> None:
        rules = self._definition
        size = len(value) if isinstance(value, str | list | dict) else 0
        broken = {
            "one_of": "one_of" in rules and value not in rules["one_of"],
            "not_one_of": "not_one_of" in rules and value in rules["not_one_of"],
            "eq": "eq" in rules and value != rules["eq"],
            "between": "between" in rules and not rules["between"][0] <= value <= rules["between"][1],
            "gt": "gt" in rules and not value > rules["gt"],
            "len_min": size < rules.get("len_min", 0),
            "len_max": size > rules.get("len_max", size),
            "len_eq": size != rules.get("len_eq", size),
            "match": "match" in rules and not self._find(rules["match"], value),
        }
        for rule, is_broken in broken.items():
            if is_broken:
                raise self._error(f"value breaks {rule} {rules[rule]}")

    def _error(self, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self._name}: {problem}")


class PluginSchema:
    """What a plugin says of its config and of the scopes at which it may be configured."""

    def __init__(self, plugin: str, fields: Sequence[Mapping[str, Any]], find: Find) -> None:
        """Raises PluginError where the schema goes beyond what minikong can check."""
        definitions = _definitions(fields, plugin)
        config = definitions.pop("config", {"type": "record", "fields": []})
        definitions.pop("protocols", None)
        self.forbidden_scopes = frozenset(
            name for name, definition in definitions.items() if _is_forbidden_scope(name, definition)
        )
        others = definitions.keys() - self.forbidden_scopes
        if others:
            raise PluginError(f"plugin {plugin}: minikong does not do the schema field {', '.join(sorted(others))}")
        self._config = Field({**config, "required": True}, f"plugin {plugin}: config", find)

    def complete(self, config: Mapping[str, Any] | None) -> dict[str, Any]:
        """The config with its defaults; raises ConfigurationError."""
        completed: dict[str, Any] = self._config.complete(dict(config or {}))
        return completed


def _definitions(fields: Sequence[Mapping[str, Any]], whose: str) -> dict[str, Mapping[str, Any]]:
    definitions: dict[str, Mapping[str, Any]] = {}
    for entry in fields:
        if len(entry) != 1:
            raise PluginError(f"{whose}: a schema field must be a map of one name")
        definitions.update(entry)
    return definitions


def _is_forbidden_scope(name: str, definition: Mapping[str, Any]) -> bool:
    """Kong's typedefs no_consumer, no_route, no_service: a foreign field that must be null."""
    return name in ("consumer", "consumer_group", "route", "service") and definition.get("type") == "foreign"
