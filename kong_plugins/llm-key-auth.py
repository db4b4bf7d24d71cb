"""Kong plugin: who is calling. A virtual key becomes a principal, or the request ends with 401."""

from kong_plugins.llm import node, pdk
from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.protocols import PROTOCOL_NAMES

version = "0.1.0"
priority = 1005  # after Kong's own authentication plugins, before ip-restriction and rate-limiting

Schema = [
    {
        "protocol": {
            "description": "The wire format in which refusals are written.",
            "type": "string",
            "default": "openai_chat",
            "one_of": list(PROTOCOL_NAMES),
        }
    }
]

start = node.authenticator


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        self.protocol = config["protocol"]

    def access(self, kong: object) -> None:
        headers = pdk.request_headers(kong)
        try:
            caller = node.authenticator().authenticate(headers, pdk.request_query(kong, self.protocol))
        except BursarError as refusal:
            return pdk.refuse(kong, refusal, self.protocol)
        return pdk.set_caller(kong, caller)
