"""Kong plugin: may they, on which model. Every limit and every budget in one reserve; the result is a grant."""

from kong_plugins.llm import estimates, node, pdk
from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.observation import RouteCalls
from kong_plugins.llm.protocols import PROTOCOL_NAMES

version = "0.1.0"
priority = 900

Schema = [
    # The wire format of the route; and whether it serves calls, or questions: about calls, the key's limits, models.
    {"protocol": {"type": "string", "required": True, "one_of": list(PROTOCOL_NAMES)}},
    {"answers": {"type": "string", "default": "calls", "one_of": ["calls", "estimates", "limits", "models"]}},
    # What plugins behind the guard add to a prompt at most; whether calls may name what lies in the provider's account.
    {"extra_input_tokens": {"type": "integer", "default": 0, "between": [0, 1_000_000]}},
    {"stored_context": {"type": "boolean", "default": False}},
    # Of an observed route: the catalogue's provider behind it, and whether its streams may be asked for their usage.
    {"mode": {"type": "string", "default": "enforce", "one_of": ["enforce", "observe"]}},
    {"provider": {"type": "string"}},
    {"include_usage": {"type": "boolean", "default": True}},
]

start = node.admission


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        self.protocol, self.answers, self.observes = config["protocol"], config["answers"], config["mode"] == "observe"
        self.calls = RouteCalls.of(config)

    def access(self, kong: object) -> None:
        if self.observes:
            return pdk.observe(kong, node.observer(), self.calls)
        try:
            caller = pdk.caller(kong, self.calls)
            if self.answers in ("limits", "models"):
                return pdk.answer_question(kong, node.admission(), caller, self.answers)
            node.admission().check_headers(caller)
            call = (node.admission(), caller, pdk.request_body(kong), self.protocol)
            if self.answers == "estimates":
                return pdk.answer_dry_run(kong, estimates.asked_estimate(*call))
            asked_at = pdk.request_target(kong, self.protocol)
            if caller.dry_run:
                return pdk.answer_dry_run(kong, estimates.estimate(*call, asked_at=asked_at))
            grant = node.admission().admit(*call[1:], asked_at=asked_at, beat=lambda: pdk.beat(kong))
        except BursarError as refusal:
            return pdk.refuse(kong, refusal, self.protocol)
        with node.admission().giving_out(grant):
            return pdk.set_grant(kong, grant)
