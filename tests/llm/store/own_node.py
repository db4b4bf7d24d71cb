"""A gateway node that a test may break: on a Redis of its own, with a journal and processes that die and come again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.events import UsageEvent
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.journal import Journal
from kong_plugins.llm.metering import settle
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.release import PolicyDocument
from kong_plugins.llm.store import BudgetState, Store
from tests.llm.gateway import BUDGET, Gateway, completion, finished
from tests.servers import eventually

COST_NUSD: Final = 9 * 150 + 20 * 600


class Node:
    """A gateway node on a Redis of its own, with a journal; its processes may die and come again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._to_close = ExitStack()
        self.folder = folder
        self.store = Store.from_url(url, timeout_ms=2000)
        self._to_close.callback(self.store.close)
        self.gateway = Gateway(self.store, "acme")
        self.document = self.gateway.publish(budgets=(BUDGET,))
        self.period = self.gateway.set_cap(10**12)
        self.outbox = self.new_process()
        self.gateway.admission = Admission(self.store, self.gateway.settings, outbox=self.outbox)

    def new_process(self, **options: Any) -> Outbox:
        outbox = Outbox(self.store, Journal(self.folder, "meter", **options))
        outbox.start()
        self._to_close.callback(outbox.close)
        return outbox

    def close(self) -> None:
        self._to_close.close()

    def finish(self, grant: Grant, outbox: Outbox | None = None) -> None:
        settle(outbox or self.outbox, finished(grant, completion()))

    def budget(self) -> BudgetState:
        state = self.store.budget_state("acme", BUDGET.id, "search", self.period)
        assert state is not None
        return state

    def publish_anew(self, document: PolicyDocument) -> None:
        """What the control plane does when Redis has lost everything, up to opening."""
        self.store.publish_policy(document)
        self.gateway.set_cap(10**12)


def answers(look: Callable[[], bool]) -> Callable[[], bool]:
    """The same, and false while Redis is away: for a moment, a store that has found it away does not ask it again."""

    def patient() -> bool:
        with suppress(StoreUnavailable):
            return look()
        return False

    return patient


def arrived(node: Node, number: int) -> Callable[[], bool]:
    return answers(lambda: node.budget().spent == number * COST_NUSD)


def wait_until_watched(node: Node) -> None:
    eventually(lambda: "acme" in Journal(node.folder, "reader").marks(), "the outbox knows which Redis answers")


def node_caller(node: Node) -> Any:
    """The caller, whose record an emptied Redis has lost too."""
    node.store.put_key(node.gateway.key_record)
    return node.gateway.caller()


def events_of(node: Node, number: int) -> list[UsageEvent]:
    found: list[UsageEvent] = []

    def look() -> bool:
        found.extend(node.gateway.events())
        return len(found) >= number

    eventually(answers(look), f"{number} events")
    return found
