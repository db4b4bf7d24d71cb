"""Kong plugin: may they, on which model. Every limit and every budget in one reserve; the result is a grant."""

from kong_plugins.llm import estimates, node, pdk, tokens
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
    },
    # Calls of models; estimates of such calls; or how the key's own limits stand.
    {"answers": {"type": "string", "default": "calls", "one_of": ["calls", "estimates", "limits"]}},
]

start = node.admission


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        self.protocol = config["protocol"]
        self.answers = config["answers"]
        tokens.warm_up()

    def access(self, kong: object) -> None:
        try:
            caller = pdk.caller(kong)
            if self.answers == "limits":
                return pdk.answer(kong, node.admission().standing(caller))
            node.admission().check_headers(caller)
            data = pdk.request_body(kong)
            if self.answers == "estimates":
                return pdk.answer(kong, estimates.asked_estimate(node.admission(), caller, data, self.protocol))
            if caller.dry_run:
                return pdk.answer(kong, estimates.estimate(node.admission(), caller, data, self.protocol))
            grant = node.admission().admit(caller, data, self.protocol, beat=lambda: pdk.beat(kong))
        except BursarError as refusal:
            return pdk.refuse(kong, refusal, self.protocol)
        with node.admission().giving_out(grant):
            return pdk.set_grant(kong, grant)
