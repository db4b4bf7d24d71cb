"""Makes the large organization anew: 10,000 teams, 100,000 keys, 5 million rows of the ledger."""

from __future__ import annotations

import os
import sys

from bench.large.databases import databases, forget, run
from bench.large.size import size_from


def main() -> int:
    try:
        size_from(os.environ)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    forget()
    with databases() as environment:
        return run(environment, "manage.py", "migrate", "--verbosity", "0") or run(
            environment, "-m", "bench.large.rows"
        )


if __name__ == "__main__":
    sys.exit(main())
