"""How long every page and every spend query take in the large organization that `make seed-large` made."""

from __future__ import annotations

import sys

from bench.large.databases import SEEDED, databases, run


def main() -> int:
    if not SEEDED.exists():
        print("there is no large organization yet: run make seed-large", file=sys.stderr)
        return 2
    with databases() as environment:
        # Its rows may be of an older state of the code.
        return run(environment, "manage.py", "migrate", "--verbosity", "0") or run(
            environment, "-m", "bench.large.opened_pages", *sys.argv[1:]
        )


if __name__ == "__main__":
    sys.exit(main())
