"""Kong's PDK over an Exchange: one definition for the Lua plugins and for the plugin servers."""

from __future__ import annotations

from minikong.pdk import client, log, nginx, request, response, service
from minikong.pdk.registry import call, functions

__all__ = ["call", "client", "functions", "log", "nginx", "request", "response", "service"]
