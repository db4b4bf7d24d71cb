"""kong-pdk's plugin server for one plugin, without its global lock: each event runs in a greenlet of its own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from gevent import Greenlet, GreenletExit
from gevent.pool import Group
from kong_pdk.exception import PluginServerException
from kong_pdk.server import PluginServer

from kong_plugins.pluginserver.event import Event, Message, is_last

# Kong reads a client's whole body inside one PDK call, which a slow upload may draw out.
STEP_TIMEOUT_S: Final = 300.0
# Lua's numbers are exact below 2^53; counting up from here stays far below.
_ID_BITS: Final = 48

_STEPS: Final = ("", "MultiMap", "Consumer", "Credential", "Route", "Service", "MemoryStats")

Remote = Callable[..., Any]


class HardenedPluginServer(PluginServer):  # type: ignore[misc]
    """Serves one plugin. `remotes` are the calls that Kong may make; kong-pdk itself would run any method by name."""

    def __init__(self, module: Any, *, answer_timeout_s: float, step_timeout_s: float = STEP_TIMEOUT_S) -> None:
        super().__init__(use_gevent=True, lua_style=False)
        self.logger = logging.getLogger(__name__)
        self.plugin_name: str = module.name
        self.plugins[module.name] = module
        self.instance_id = secrets.randbits(_ID_BITS)
        self.event_id = secrets.randbits(_ID_BITS)
        self.handlers = Group()
        self._answer_timeout_s = answer_timeout_s
        self._step_timeout_s = step_timeout_s

    @property
    def remotes(self) -> Mapping[str, Remote]:
        return {
            "plugin.StartInstance": self.start_instance,
            "plugin.CloseInstance": self.close_instance,
            "plugin.InstanceStatus": self.instance_status,
            "plugin.GetPluginInfo": self.get_plugin_info,
            "plugin.GetStatus": self.get_status,
            "plugin.HandleEvent": self.handle_event,
            "plugin.StepError": self.step_error,
            **{f"plugin.Step{kind}": self.step for kind in _STEPS},
        }

    def handle_event(self, event: dict[str, Any]) -> dict[str, Any]:
        """Start a handler; returns its first message.

        Raises:
            PluginServerException: no such instance, in the words that make Kong start one; or no such phase.
        """
        instance = self.instances.get(event["InstanceId"])
        if instance is None:
            raise PluginServerException(f"no plugin instance #{event['InstanceId']}")
        phase = event["EventName"]
        if phase not in self.plugins[self.plugin_name].phases:
            raise PluginServerException(f"the plugin has no phase {phase}")
        self.event_id += 1
        new = Event(
            self.event_id,
            getattr(instance.cls, phase),
            phase,
            # A plugin that decides nothing has none, and refuses nothing.
            protocol=getattr(instance.cls, "protocol", "openai_chat"),
            refuses=not getattr(instance.cls, "observes", False),
            step_timeout_s=self._step_timeout_s,
        )
        greenlet = Greenlet(new.run)
        greenlet.link(lambda _: self.events.pop(new.event_id, None))
        self.events[new.event_id] = new
        self.handlers.add(greenlet)
        new.start(greenlet)
        return self._next_message(new)

    def hang_up(self, event_id: int) -> None:
        """Kong has closed the connection on which it waited for this event's next message."""
        event = self.events.pop(event_id, None)
        if event is not None:
            event.hang_up()

    def _step(self, data: dict[str, Any], is_error: bool) -> dict[str, Any]:
        event = self.events.get(data["EventId"])
        if event is None:
            raise PluginServerException(f"event id {data['EventId']} not found")
        answer = data.get("Data")
        event.answer(None if is_error else answer, answer if is_error else None)
        return self._next_message(event)

    def _next_message(self, event: Event) -> dict[str, Any]:
        try:
            message: Message = event.next_message(self._answer_timeout_s)
        except GreenletExit:
            self.hang_up(event.event_id)
            raise
        if is_last(message):
            self.events.pop(event.event_id, None)
        return {"Data": message, "EventId": event.event_id}
