"""How the control plane reads its environment: loud on what is missing, never a default for a secret."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from kong_plugins.llm.settings import MissingSetting

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def flag_from(environment: Mapping[str, str], name: str) -> bool:
    """Whether `name` is 1; absent, empty and 0 are no."""
    value = environment.get(name, "0") or "0"
    if value not in ("0", "1"):
        raise MissingSetting(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def list_from(environment: Mapping[str, str], name: str, default: str = "") -> list[str]:
    """The comma-separated entries of `name`."""
    return [entry.strip() for entry in environment.get(name, default).split(",") if entry.strip()]


def count_from(environment: Mapping[str, str], name: str, default: int, *, of: str = "") -> int:
    """A positive whole number; `of` says of what."""
    text = environment.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise MissingSetting(f"{name} must be a positive whole number{of}, not {text!r}")
    return int(text)


def seconds_from(environment: Mapping[str, str], name: str, default: int) -> int:
    """A positive whole number of seconds."""
    return count_from(environment, name, default, of=" of seconds")


def networks_from(environment: Mapping[str, str], name: str) -> list[IPv4Network | IPv6Network]:
    """The comma-separated addresses and networks of `name`, such as 10.0.0.0/8."""
    try:
        return [ip_network(entry) for entry in list_from(environment, name)]
    except ValueError as error:
        raise MissingSetting(f"{name} must be addresses or networks such as 10.0.0.0/8: {error}") from error


def database_from(url: str) -> dict[str, Any]:
    """Django's description of the Postgres database at a libpq URL; libpq's own parser reads it."""
    if urlsplit(url).scheme not in ("postgres", "postgresql"):
        raise MissingSetting("DATABASE_URL must be a postgresql:// URL")
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "OPTIONS": parts,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def broker_from(environment: Mapping[str, str], redis_url: str) -> str:
    """Celery's broker: `BURSAR_BROKER_URL`, else database 1 of the Redis that counts."""
    if explicit := environment.get("BURSAR_BROKER_URL"):
        return explicit
    parts = urlsplit(redis_url)
    if parts.scheme not in ("redis", "rediss"):
        raise MissingSetting("set BURSAR_BROKER_URL, since REDIS_URL is not a redis:// or rediss:// URL")
    return parts._replace(path="/1").geturl()


def only_loopback(hosts: list[str]) -> bool:
    """Whether the site is served to this machine alone, so that plain HTTP is no risk."""
    return set(hosts) <= _LOOPBACK
