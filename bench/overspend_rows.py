"""The arithmetic of `bench-overspend`: from what the provider and the ledger say to a row, and what is wrong with it.

Pure, and on purpose nothing of the product is used: it is the product that is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

NO_FAULT: Final[Literal["none"]] = "none"
_LEAST_SHARE: Final = 0.9
_LEAST_SHARE_WITH_FAULT: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One row of the ledger; `kind` is posted, expired or adjusted, `queued_ms` how long the call stood in a line."""

    request_id: str
    kind: str
    amount_nusd: int
    queued_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case came out, once nothing was held any more.

    `billed_nusd` is what the provider's books say, by request id; a call that it refused is not among them.
    `ledger` is every row of the team's calls. `counters` are spent and held of the budget in Redis, None where that
    does not answer.
    """

    case: str
    fault: str
    cap_nusd: int
    true_cost_nusd: int
    billed_nusd: Mapping[str, int]
    ledger: Sequence[LedgerRow]
    counters: tuple[int, int] | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is held any more, and the ledger has all that Redis has counted and the provider billed."""
        known = {row.request_id for row in self.ledger}
        return self.counters == (self._ledger_nusd, 0) and self.billed_nusd.keys() <= known

    @property
    def orphans(self) -> dict[str, int]:
        """The calls whose end nobody reported, and the whole hold with which each was charged after its lease."""
        return {row.request_id: row.amount_nusd for row in self.ledger if row.kind == "expired"}

    @property
    def affordable(self) -> int:
        """How many calls the cap pays for, beside the orphans."""
        return max(0, self.cap_nusd - sum(self.orphans.values())) // self.true_cost_nusd

    @property
    def admitted(self) -> int:
        """How many calls have reached the provider, without the orphans, for which the cap was not there."""
        return len(self.billed_nusd.keys() - self.orphans.keys())

    @property
    def waited(self) -> int:
        """How many of the calls that were admitted had stood in a line before."""
        return len({row.request_id for row in self.ledger if row.queued_ms})

    @property
    def admitted_share(self) -> float:
        return self.admitted / self.affordable if self.affordable else 1.0

    @property
    def spent_nusd(self) -> int:
        """By the provider's books or by the ledger, whichever is more."""
        return max(sum(self.billed_nusd.values()), self._ledger_nusd)

    @property
    def overspend_nusd(self) -> int:
        """How much more than the cap was spent; less than nothing where some of it is left."""
        return self.spent_nusd - self.cap_nusd

    def row(self) -> dict[str, Any]:
        """The row of the table."""
        names = ("case", "fault", "admitted", "affordable", "admitted_share", "spent_nusd", "overspend_nusd")
        return {name: getattr(self, name) for name in names}

    def failures(self) -> list[str]:
        """What is wrong with it, in words; nothing where it is as it must be."""
        found = []
        if self.overspend_nusd > 0:
            found.append(f"{self.overspend_nusd} nUSD more than the cap were spent")
        least = _LEAST_SHARE if self.fault == NO_FAULT else _LEAST_SHARE_WITH_FAULT
        if self.admitted_share < least:
            found.append(f"{self.admitted} of {self.affordable} affordable calls were admitted, less than {least:.0%}")
        if unknown := self.billed_nusd.keys() - {row.request_id for row in self.ledger}:
            found.append(f"the ledger does not know {len(unknown)} calls that the provider has billed")
        if self.counters != (self._ledger_nusd, 0):
            found.append(f"the ledger says {self._ledger_nusd} nUSD, Redis {self.counters} spent and held")
        return found

    @property
    def _ledger_nusd(self) -> int:
        return sum(row.amount_nusd for row in self.ledger)
