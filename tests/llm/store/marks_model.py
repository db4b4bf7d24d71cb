"""Which deployments are failing, as it is meant: in plain Python, for one organization."""

from __future__ import annotations

import msgspec

from kong_plugins.llm.limits import Reservation
from kong_plugins.llm.marks import Ending, Mark

TRIED_FOR_MS = 30_000


class MarksModel:
    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}

    def has_other(self, call: Reservation, now_ms: int) -> bool:
        """Whether one of the call's other candidates is not passed over."""
        return any(not self._is_passed_over(other, now_ms) for other in call.others)

    def passes_over(self, call: Reservation, now_ms: int) -> bool:
        deployment = call.deployment or ""
        return self._is_passed_over(deployment, now_ms) and self.has_other(call, now_ms)

    def let_pass(self, call: Reservation, now_ms: int) -> None:
        """The first call after a mark's time is its trial."""
        mark = self.marks.get(call.deployment or "")
        if call.deployment is not None and mark is not None and not self._is_passed_over(call.deployment, now_ms):
            trial = {"trial": call.request_id, "trial_until_ms": now_ms + TRIED_FOR_MS}
            self.marks[call.deployment] = msgspec.structs.replace(mark, **trial)

    def end(
        self,
        deployment: str,
        ending: Ending,
        *,
        request_id: str,
        reserved_at_ms: int,
        asked_ms: int | None,
        now_ms: int,
    ) -> bool:
        mark = self.marks.get(deployment)
        knows_the_mark = mark is None or reserved_at_ms > mark.marked_at_ms
        if ending == "succeeded" and (mark is None or reserved_at_ms >= mark.marked_at_ms):
            return self.marks.pop(deployment, None) is not None
        if ending == "failed":
            mark = mark or Mark(since_ms=now_ms, marked_at_ms=0, until_ms=0, failures=0, status=0)
            lasts_ms = asked_ms or 0
            if knows_the_mark:
                mark = msgspec.structs.replace(mark, marked_at_ms=now_ms, failures=mark.failures + 1)
                lasts_ms = asked_ms if asked_ms is not None else min(60_000, 1000 * 2 ** (mark.failures - 1))
            until_ms = max(mark.until_ms, now_ms + lasts_ms)
            mark = msgspec.structs.replace(mark, until_ms=until_ms, status=503)
        if mark is not None:
            is_its_trial = mark.trial == request_id
            self.marks[deployment] = (
                msgspec.structs.replace(mark, trial=None, trial_until_ms=None) if is_its_trial else mark
            )
        return ending == "failed" and knows_the_mark

    def _is_passed_over(self, deployment: str, now_ms: int) -> bool:
        mark = self.marks.get(deployment)
        return mark is not None and now_ms < max(mark.until_ms, mark.trial_until_ms or 0)
