"""Which events count in which budget: as gateways count them (`kong_plugins.llm.limits`), by their admission."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, get_args

from django.db.models import Case, CharField, F, Func, JSONField, Max, Q, QuerySet, Sum, Value, When

from control_plane.budgets.models import Budget, BudgetPeriod
from control_plane.budgets.selectors import now_ms
from control_plane.keys.selectors import speaking_key_ids
from control_plane.ledger.models import HourRollup, UsageEvent
from control_plane.ledger.rows import instant_of
from control_plane.live import live_state
from control_plane.releases.documents import scope_of
from control_plane.releases.models import Release
from control_plane.teams.models import Organization
from kong_plugins.llm import events
from kong_plugins.llm.recovery import CounterPlace, Difference, Recovery
from kong_plugins.llm.release import BudgetUnit, Tier
from kong_plugins.llm.store import PERIOD_KEPT_MS
from kong_plugins.llm.windows import END_OF_TIME_MS, Period, period_at

# A call that expired was counted as a request, which a void that comes later takes back.
_REQUESTS: Final = Case(
    When(kind__in=("posted", "expired"), then=Value(1)),
    When(kind="adjusted", quality="", then=Value(-1)),
    default=Value(0),
)
_AMOUNTS: Final[dict[BudgetUnit, Any]] = {
    "nusd": F("amount_nusd"),
    "tokens": F("input_tokens") + F("output_tokens"),
    "requests": _REQUESTS,
}
# A call is over by so long after its period has ended.
CLOSING_MS: Final = 86_400_000
_SETTLED: Final = ("posted", "expired", "adjusted")
_TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
_SUBJECTS_AT_ONCE: Final = 1_000
_LONGEST_HOUR: Final = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class CountedSpan:
    """One period of a budget, and subjects that count in it.

    `without` are the releases that did not have the budget: calls that were admitted under them are not in Redis' sum.
    `sharing` are those in which a tier had a share of the budget, by tier: its calls under them are in the tier's sum.
    The periods of `unforeseen` subjects, who have no cap of their own, end with a time to live.
    """

    organization: Organization
    budget: Budget
    period: Period
    subjects: frozenset[str]
    unforeseen: frozenset[str] = frozenset()
    without: list[int] = field(default_factory=list)
    sharing: dict[Tier, list[int]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.budget} · {self.period.name}"

    @property
    def places(self) -> list[CounterPlace]:
        """Where gateways count it."""
        return [
            CounterPlace(self.budget.reference, subject, self.period.name, tier)
            for subject in sorted(self.subjects)
            for tier in (None, *self.sharing)
        ]

    def parts(self) -> Iterator[CountedSpan]:
        """The span in parts, none of which keeps others from Redis or Postgres for long."""
        subjects = sorted(self.subjects)
        for start in range(0, len(subjects), _SUBJECTS_AT_ONCE):
            yield replace(self, subjects=frozenset(subjects[start : start + _SUBJECTS_AT_ONCE]))

    def is_made_beforehand(self, place: CounterPlace) -> bool:
        """Whether Redis has this counter from the beginning of the period on, and not from its first call on."""
        return place.tier is None and place.subject not in self.unforeseen

    def difference(self, place: CounterPlace, amount: int) -> Difference:
        kept_until_ms = self.period.end_ms + PERIOD_KEPT_MS if place.subject in self.unforeseen else None
        return Difference(place, amount, kept_until_ms)


def running_spans(organization: Organization) -> Iterator[CountedSpan]:
    """The periods in which calls may still be counted, and those whose last calls may just be ending."""
    at_ms = now_ms()
    return counted_spans(organization, from_ms=at_ms - CLOSING_MS, until_ms=at_ms)


def counted_spans(organization: Organization, *, from_ms: int, until_ms: int) -> Iterator[CountedSpan]:
    """The periods that hold an instant from `from_ms` through `until_ms`, with every subject that may count in them."""
    found = _spans(organization, from_ms, until_ms)
    rules = _Rules(organization, min((span.period.start_ms for span in found), default=0))
    for span in found:
        users = _users_in_ledger(span) if span.budget.is_for_each_user else frozenset[str]()
        yield rules.applied_to(replace(span, subjects=span.subjects | users, unforeseen=users - span.subjects))


def ledger_sums(span: CountedSpan, only: Q | None = None) -> dict[CounterPlace, int]:
    """What the events of the ledger, or of it `only` some, have used, for each of the span's places in its unit."""
    scope = span.budget.scope
    rows = (
        _events_in(span)
        .filter(only or Q(), kind__in=_SETTLED)
        .annotate(share=_share(span))
        .order_by()
        .values_list(scope, "share")
        .annotate(total=Sum(_AMOUNTS[span.budget.unit], default=0))
    )
    sums = dict.fromkeys(span.places, 0)
    for subject, share, total in rows:
        whole = CounterPlace(span.budget.reference, subject, span.period.name)
        sums[whole] += total
        if share:
            sums[CounterPlace(whole.budget, subject, whole.period, share)] += total
    return sums


def count_what_was_lost(organization_slug: str, events_taken: Iterable[events.UsageEvent]) -> None:
    """Tell the counters of events that the ledger has just taken and whose holds Redis had lost.

    To be called before the commit: Redis counts each only once, so that a batch that is recorded again does no harm.

    Raises:
        StoreUnavailable: they are not all told.
    """
    organization = Organization.objects.filter(slug=organization_slug).first()
    if organization is None:
        return
    for event in events_taken:
        differences = [
            span.difference(place, amount)
            for span in counted_spans(organization, from_ms=event.reserved_at_ms, until_ms=event.reserved_at_ms)
            for place, amount in ledger_sums(_of_subject(span, event), Q(event_id=event.id)).items()
            if amount
        ]
        Recovery(live_state()).adjust(organization_slug, event.id, differences)


def _of_subject(span: CountedSpan, event: events.UsageEvent) -> CountedSpan:
    """The span of only the subject that an event is about."""
    return replace(span, subjects=span.subjects & {getattr(event, span.budget.scope)})


def _spans(organization: Organization, from_ms: int, until_ms: int) -> list[CountedSpan]:
    """The spans with the subjects that have caps of their own."""
    subjects: dict[tuple[Budget, Period], set[str]] = {}
    rows = BudgetPeriod.objects.select_related("budget__model", "budget__provider").filter(
        budget__organization=organization, starts_at_ms__lte=until_ms, ends_at_ms__gt=from_ms, published_version__gt=0
    )
    for row in rows.order_by("budget", "starts_at_ms"):
        period = Period(name=row.name, start_ms=row.starts_at_ms, end_ms=row.ends_at_ms)
        subjects.setdefault((row.budget, period), set()).add(row.subject)
    for budget in Budget.objects.select_related("model", "provider").filter(organization=organization, subject=None):
        if budget.is_for_each_user:
            for at_ms in (from_ms, until_ms):
                period = period_at(
                    budget.period, at_ms, organization.zone, fiscal_month_start=organization.fiscal_month_start
                )
                subjects.setdefault((budget, period), set())
    return [
        CountedSpan(organization=organization, budget=budget, period=period, subjects=frozenset(found))
        for (budget, period), found in subjects.items()
    ]


def _users_in_ledger(span: CountedSpan) -> frozenset[str]:
    """The users whose calls can have counted in the span, as the sums of hours name them."""
    hours = HourRollup.objects.filter(
        organization=span.organization.slug,
        hour__gt=instant_of(span.period.start_ms) - _LONGEST_HOUR,
        key__in=speaking_key_ids(span.organization.pk),
    ).exclude(user="")
    if span.period.end_ms < END_OF_TIME_MS:
        hours = hours.filter(hour__lt=instant_of(span.period.end_ms))
    return frozenset(hours.values_list("user", flat=True).distinct())


def _events_in(span: CountedSpan) -> QuerySet[UsageEvent]:
    scope, organization = scope_of(span.budget), span.organization
    found = UsageEvent.objects.filter(
        organization=organization.slug, reserved_at__gte=instant_of(span.period.start_ms)
    ).exclude(release__in=span.without)
    if span.period.end_ms < END_OF_TIME_MS:
        found = found.filter(reserved_at__lt=instant_of(span.period.end_ms))
    if scope.model is not None:
        found = found.filter(request_model=scope.model)
    if scope.provider is not None:
        found = found.filter(provider=scope.provider)
    if scope.tag is not None:
        found = found.filter(tags__contains=[scope.tag])
    if scope.kind == "user":
        found = found.filter(key__in=speaking_key_ids(organization.pk))
    return found.filter(**{f"{scope.kind}__in": span.subjects})


def _share(span: CountedSpan) -> Case:
    """The tier in whose share an event counts, or none."""
    shared = [When(tier=tier, release__in=numbers, then=Value(tier)) for tier, numbers in span.sharing.items()]
    return Case(*shared, default=Value(""), output_field=CharField())


class _Rules:
    """What the releases say of budgets that calls since an instant can have been admitted under."""

    def __init__(self, organization: Organization, since_ms: int) -> None:
        releases = Release.objects.filter(organization=organization)
        before = releases.filter(created_at__lt=instant_of(since_ms)).aggregate(number=Max("number", default=0))
        found = releases.filter(number__gte=before["number"]).annotate(
            budgets=_ids("$.budgets[*].id"),
            **{tier: _ids(f"$.budgets[*] ? (@.tier_shares_percent.{tier} < 100).id") for tier in _TIERS},
        )
        self._releases = list(found.values("number", "budgets", *_TIERS))

    def applied_to(self, span: CountedSpan) -> CountedSpan:
        reference = span.budget.reference
        sharing = {
            tier: [release["number"] for release in self._releases if reference in release[tier]] for tier in _TIERS
        }
        return replace(
            span,
            without=[release["number"] for release in self._releases if reference not in release["budgets"]],
            sharing={tier: numbers for tier, numbers in sharing.items() if numbers},
        )


def _ids(path: str) -> Func:
    """The budgets of a release that a JSON path names."""
    template = f"jsonb_path_query_array(%(expressions)s, '{path}')"
    return Func(F("document"), template=template, output_field=JSONField())
