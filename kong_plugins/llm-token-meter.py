"""Kong plugin: what did it cost. In the log phase, a granted call's hold becomes what the provider has billed."""

from kong_plugins.llm import node, pdk
from kong_plugins.llm.metering import note, settle

version = "0.1.0"
priority = 10

Schema: list[dict[str, object]] = []


def start() -> None:
    """Settle at once what a process before this one has left."""
    node.outbox("llm-token-meter")


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        """It needs no configuration."""

    def log(self, kong: object) -> None:
        call = pdk.finished_call(kong)
        if call is None:
            return
        settle(node.outbox("llm-token-meter"), call)
        if note(node.marks(), call) and call.is_refused:
            pdk.warn_of_refused_credential(kong, call)
