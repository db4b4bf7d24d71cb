"""List prices for the deployments of an organization: what has changed is shown first, and applied on request.

What a person has set by hand stays until he says otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import ndiff
from typing import Final

from django.db import transaction

from control_plane.catalog.listed_prices import SOURCE, ListedPrice, NoListPrice, listed_prices, vendor_at
from control_plane.catalog.models import Deployment, Price
from control_plane.catalog.price_book import add_row, normal, price_of
from control_plane.catalog.price_text import Amounts, lines_of
from control_plane.live import announce_change
from kong_plugins.llm.vendors import VENDORS

# From when on a price holds that was listed first, where no date is recorded.
_ALWAYS: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Proposal:
    """A row that the price book should have: in effect from an instant on, or from when it is applied."""

    since: datetime | None
    amounts: Amounts
    before: Amounts | None

    @property
    def when(self) -> str:
        return f"from {self.since:%Y-%m-%d}" if self.since else "from now on"

    @property
    def difference(self) -> list[str]:
        """The lines of the price that are taken away (-) and added (+)."""
        before, after = (lines_of(price_of(amounts)) if amounts else [] for amounts in (self.before, self.amounts))
        return [line for line in ndiff(before, after) if line[0] in "+-"]


@dataclass(frozen=True)
class Finding:
    """What the list says of one deployment: rows that the book should have, or why there are none."""

    deployment: Deployment
    proposals: tuple[Proposal, ...] = ()
    remark: str = ""


def look_up(organization_id: int, *, now: datetime, replace_manual: bool = False) -> list[Finding]:
    """What the list says of every active deployment; a price that was set by hand is left as it is, unless asked."""
    rows = Deployment.objects.select_related("model", "provider").prefetch_related("prices")
    found = rows.filter(model__organization=organization_id, active=True)
    return [_finding(deployment, now, replace_manual) for deployment in found]


@transaction.atomic
def apply(organization_id: int, findings: Iterable[Finding], *, actor: str, now: datetime) -> int:
    """Put what was found into the price book, unless somebody has meanwhile; return how many rows those are."""
    findings = list(findings)
    changed = [finding.deployment.pk for finding in findings if finding.proposals]
    # Who comes second waits here, and then finds it done.
    list(Deployment.objects.select_for_update(of=("self",)).filter(pk__in=changed).order_by("pk"))
    rows = [
        add_row(
            finding.deployment,
            proposal.amounts,
            effective_from=proposal.since or now,
            actor=actor,
            source=SOURCE,
        )
        for finding in findings
        for proposal in finding.proposals
        if not _is_in_book(finding.deployment, proposal, proposal.since or now)
    ]
    if rows:
        announce_change(organization_id, actor=actor)
    return len(rows)


def fingerprint(findings: Iterable[Finding]) -> str:
    """Equal for findings that propose the same: what is applied must be what was seen."""
    content = [
        (finding.deployment.pk, proposal.when, proposal.amounts)
        for finding in findings
        for proposal in finding.proposals
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finding(deployment: Deployment, now: datetime, replace_manual: bool) -> Finding:
    try:
        listed = _listed(deployment)
    except NoListPrice as reason:
        return Finding(deployment, remark=str(reason))
    book = list(deployment.prices.all())
    if _has_manual(book, now) and not replace_manual:
        return Finding(deployment, remark="Its price is set by hand, and stays.")
    proposals = tuple(_updates(book, listed, now) if book else _history(listed))
    return Finding(deployment, proposals, "" if proposals else "Its price is that of the list.")


def _listed(deployment: Deployment) -> list[ListedPrice]:
    """The list prices of the provider's model, or of the model as clients call it: some deployments have names of
    their own."""
    vendor = _vendor_of(deployment)
    try:
        return listed_prices(vendor, deployment.provider_model)
    except NoListPrice as reason:
        try:
            return listed_prices(vendor, deployment.model.name)
        except NoListPrice:
            raise reason from None


def _vendor_of(deployment: Deployment) -> str:
    provider = deployment.provider
    vendor = VENDORS[provider.vendor].prices or vendor_at(provider.base_url)
    if vendor is None:
        raise NoListPrice("There are no list prices for its provider.")
    return vendor


def _history(listed: Collection[ListedPrice]) -> Iterable[Proposal]:
    """All that is recorded, for a deployment that has had no price."""
    before: Amounts | None = None
    for each in listed:
        yield Proposal(each.since or _ALWAYS, each.amounts, before)
        before = each.amounts


def _updates(book: Collection[Price], listed: Collection[ListedPrice], now: datetime) -> Iterable[Proposal]:
    """What brings the book's present and future to what the list says; its past stays."""
    current = _in_book(book, now)
    known = _in_list(listed, now)
    if known is not None and (current is None or current.amounts != known.amounts):
        is_dated = known.since is not None and (current is None or known.since > current.effective_from)
        yield Proposal(known.since if is_dated else None, known.amounts, current.amounts if current else None)
    instants = {each.since for each in listed if each.since} | {row.effective_from for row in book}
    before = known.amounts if known else current.amounts if current else None
    for at in sorted(instant for instant in instants if instant > now):
        wanted, there = _in_list(listed, at), _in_book(book, at)
        if wanted is None:
            continue
        if (there.amounts if there and there.effective_from == at else before) != wanted.amounts:
            yield Proposal(at, wanted.amounts, before)
        before = wanted.amounts


def _is_in_book(deployment: Deployment, proposal: Proposal, at: datetime) -> bool:
    row = Price.objects.filter(deployment=deployment, effective_from__lte=at).first()
    return row is not None and row.amounts == normal(proposal.amounts)


def _has_manual(book: Collection[Price], now: datetime) -> bool:
    """Whether a person has set what is in force or will be."""
    current = _in_book(book, now)
    return any(row.source == Price.MANUAL for row in book if row.effective_from > now or row is current)


def _in_book(book: Collection[Price], at: datetime) -> Price | None:
    return next((row for row in book if row.effective_from <= at), None)


def _in_list(listed: Collection[ListedPrice], at: datetime) -> ListedPrice | None:
    begun = [each for each in listed if each.since is None or each.since <= at]
    return begun[-1] if begun else None
