"""Kong plugin: who is calling. A virtual key becomes a principal, or the request ends with 401. On a route that is
only observed, every request goes on, with the best that is known of its caller."""

from kong_plugins.llm import node, pdk
from kong_plugins.llm.attribution import ObservedRoute, attribute
from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.protocols import PROTOCOL_NAMES

version = "0.1.0"
priority = 1005  # after Kong's own authentication plugins, before ip-restriction and rate-limiting

Schema = [
    # The wire format in which refusals are written.
    {"protocol": {"type": "string", "default": "openai_chat", "one_of": list(PROTOCOL_NAMES)}},
    {"mode": {"type": "string", "default": "enforce", "one_of": ["enforce", "observe"]}},
    # Of an observed route: whose it is, and what names the team of a call without a virtual key.
    {"organization": {"type": "string"}},
    {"attribute_by": {"type": "string", "one_of": ["consumer", "header"]}},
    {"header_name": {"type": "string", "default": "x-team"}},
]

start = node.authenticator


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        self.protocol = config["protocol"]
        self.observes = config["mode"] == "observe"
        self.route = ObservedRoute.of(config)

    def access(self, kong: object) -> None:
        headers, query = pdk.request_headers(kong), pdk.request_query(kong, self.protocol)
        origin = pdk.RequestOrigin(kong)
        if self.observes:
            named = pdk.consumer_name(kong) if self.route.by == "consumer" else None
            caller = attribute(
                node.authenticator(), headers, self.route, origin=origin, query=query, consumer_name=named
            )
            return pdk.set_observed_caller(kong, caller)
        try:
            caller = node.authenticator().authenticate(headers, query, origin=origin)
        except BursarError as refusal:
            return pdk.refuse(kong, refusal, self.protocol)
        return pdk.set_caller(kong, caller)
