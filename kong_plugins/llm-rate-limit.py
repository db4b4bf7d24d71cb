"""Kong plugin: may they, on which model. Every limit and every budget in one reserve; the result is a grant."""

from kong_plugins.llm import node, pdk, tokens
from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.protocols import PROTOCOL_NAMES

version = "0.1.0"
priority = 900

Schema = [
    {
        "protocol": {
            "description": "The wire format of the route.",
            "type": "string",
            "required": True,
            "one_of": list(PROTOCOL_NAMES),
        }
    }
]


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        self.protocol = config["protocol"]
        tokens.warm_up()

    def access(self, kong: object) -> None:
        try:
            caller = pdk.caller(kong)
            node.admission().check_headers(caller)
            grant = node.admission().admit(caller, pdk.request_body(kong), self.protocol)
        except BursarError as refusal:
            return pdk.refuse(kong, refusal, self.protocol)
        return pdk.set_grant(kong, grant)
