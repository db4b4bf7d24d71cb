"""Whether a cap is ever exceeded, and how much of it is used: a crowd against $0.10, on real systems, with faults.

Exits with 1 where a row is not as it must be; each such row is explained below the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Final

from bench.faults import FAULTS
from bench.overspend_rows import NO_FAULT, Outcome
from bench.overspend_trial import DEADLINE_MS, LEASE_GRACE_MS, Case, TrialGround
from bench.results import publish
from stack.system import Stack

QUEUE_S: Final = 30
GATEWAYS: Final = (1, 2, 4)
# Every shape of call meets every fault where two edges share the counters; elsewhere the one does that holds most.
GATEWAYS_WITH_ALL_FAULTS: Final = 2
HOLDS_MOST: Final = (True, False)
_SETTINGS: Final = {
    "BURSAR_DEADLINE_MS": str(DEADLINE_MS),
    "BURSAR_LEASE_GRACE_MS": str(LEASE_GRACE_MS),
    "BURSAR_REDIS_TIMEOUT_MS": "2000",
}


def all_cases() -> list[Case]:
    """Every case, those of one system together."""
    shapes = list(product((False, True), (True, False)))
    return [
        Case(gateways=gateways, stream=stream, max_tokens=max_tokens, fault=fault)
        for gateways in GATEWAYS
        for fault in (NO_FAULT, *FAULTS)
        for stream, max_tokens in shapes
        if fault == NO_FAULT or gateways == GATEWAYS_WITH_ALL_FAULTS or (stream, max_tokens) == HOLDS_MOST
    ]


def chosen(cases: Iterable[Case], words: Iterable[str]) -> list[Case]:
    """The cases in whose name or fault every one of these words stands."""
    wanted = list(words)
    return [case for case in cases if all(word in f"{case.name}, {case.fault}" for word in wanted)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.overspend", description=__doc__)
    parser.add_argument("words", nargs="*", help="only the cases in whose names all of these stand: 2 streamed redis")
    parser.add_argument("--queue-seconds", type=int, default=QUEUE_S, help="how long a call may wait")
    options = parser.parse_args()
    outcomes = []
    for gateways in GATEWAYS:
        cases = [case for case in chosen(all_cases(), options.words) if case.gateways == gateways]
        if cases:
            outcomes += _try(cases, gateways, options.queue_seconds)
    publish("bench-overspend", [outcome.row() for outcome in outcomes])
    failures = [(outcome, failure) for outcome in outcomes for failure in outcome.failures()]
    for outcome, failure in failures:
        sys.stderr.write(f"bench-overspend: {outcome.case}, fault {outcome.fault}: {failure}\n")
    return 1 if failures else 0


def _try(cases: list[Case], gateways: int, queue_s: int) -> list[Outcome]:
    """Try the cases one after the other, in one system of so many gateways."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="bursar-bench-") as folder:
        run = Path(folder)
        with (
            Stack(run, gateways=gateways, settings=_SETTINGS) as stack,
            TrialGround(stack, run, queue_s=queue_s) as ground,
        ):
            for case in cases:
                began_s = time.monotonic()
                outcome, seen = ground.run(case)
                _say(outcome, seen, time.monotonic() - began_s)
                outcomes.append(outcome)
    return outcomes


def _say(outcome: Outcome, seen: Counter[str], seconds: float) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in seen.most_common())
    orphans = f", {len(outcome.orphans)} orphans," if outcome.orphans else ""
    sys.stderr.write(
        f"bench-overspend: {outcome.case}, fault {outcome.fault}: {outcome.admitted} of {outcome.affordable}{orphans}"
        f" after {outcome.waited} waits in {seconds:.0f} s; clients saw {counts}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
