"""Opens every page of the large organization as each who watches it. A program of its own, with the control plane's
environment.
"""

from __future__ import annotations

import argparse
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")
django.setup()

from django.test import Client  # noqa: E402
from tqdm import tqdm  # noqa: E402

from bench.large.page_list import pages_for  # noqa: E402
from bench.large.page_times import Measured, measured  # noqa: E402
from bench.results import publish  # noqa: E402
from control_plane.teams.models import User  # noqa: E402

PEOPLE = ("platform", "finance", "department-owner", "team-owner")
SLOWEST_MS = 300
MOST_QUERIES = 45
_NOT_THEIRS = (301, 302, 403, 404, 405)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.pages")
    parser.add_argument("words", nargs="*", help="only the pages in whose names all of these stand")
    parser.add_argument("--people", nargs="+", default=list(PEOPLE), choices=PEOPLE)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    found = [each for person in options.people for each in _opened(person, options.words, options.repeats)]
    shown = [each for each in found if each.status not in _NOT_THEIRS]
    shown.sort(key=lambda each: -each.median_ms)
    complaints = [complaint for each in shown for complaint in _complaints(each)]
    publish("bench-pages", [each.as_row() for each in shown], shown=60)
    medians = sorted(each.median_ms for each in shown)
    print(f"{len(shown)} pages; half of them take at most {medians[len(medians) // 2]:.0f} ms", file=sys.stderr)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def _opened(person: str, words: list[str], repeats: int) -> list[Measured]:
    user = User.objects.get(username=person)
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(user)
    pages = [page for page in pages_for(user) if all(word in page.name for word in words)]
    return [measured(client, page, person, repeats) for page in tqdm(pages, desc=person, mininterval=1)]


def _complaints(each: Measured) -> list[str]:
    name = f"{each.page.name} as {each.person}"
    found = []
    if each.status >= 500:
        found.append(f"{name}: answers {each.status}")
    if each.median_ms >= SLOWEST_MS:
        found.append(f"{name}: {each.median_ms:.0f} ms, not below {SLOWEST_MS}")
    if each.queries > MOST_QUERIES:
        found.append(f"{name}: {each.queries} queries, more than {MOST_QUERIES}")
    return found


if __name__ == "__main__":
    sys.exit(main())
