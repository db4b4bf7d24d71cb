"""Kong plugin: may they, on which model. Every limit and every budget in one reserve; the result is a grant."""

from kong_plugins.llm import estimates, node, pdk, tokens
from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.protocols import PROTOCOL_NAMES

version = "0.1.0"
priority = 900

Schema = [
    # The wire format of the route.
    {"protocol": {"type": "string", "required": True, "one_of": list(PROTOCOL_NAMES)}},
    # Calls of models; estimates of such calls; how the key's own limits stand; or which models it may use.
    {"answers": {"type": "string", "default": "calls", "one_of": ["calls", "estimates", "limits", "models"]}},
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
            if self.answers == "models":
                return pdk.answer(kong, node.admission().models(caller, pdk.request_path(kong)))
            node.admission().check_headers(caller)
            data, asked_at = pdk.request_body(kong), pdk.request_target(kong, self.protocol)
            call = (node.admission(), caller, data, self.protocol)
            if self.answers == "estimates":
                return pdk.answer_dry_run(kong, estimates.asked_estimate(*call))
            if caller.dry_run:
                return pdk.answer_dry_run(kong, estimates.estimate(*call, asked_at=asked_at))
            grant = node.admission().admit(caller, data, self.protocol, asked_at=asked_at, beat=lambda: pdk.beat(kong))
        except BursarError as refusal:
            return pdk.refuse(kong, refusal, self.protocol)
        with node.admission().giving_out(grant):
            return pdk.set_grant(kong, grant)
