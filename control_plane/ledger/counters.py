"""Which events count in which budget: as gateways count them (`kong_plugins.llm.limits`), by their admission."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db.models import Case, F, Func, JSONField, Max, QuerySet, Sum, Value, When

from control_plane.budgets.models import BudgetPeriod
from control_plane.budgets.selectors import now_ms
from control_plane.keys.selectors import speaking_key_ids
from control_plane.ledger.models import UsageEvent
from control_plane.ledger.rows import instant_of
from control_plane.live import live_state
from control_plane.releases.documents import scope_of
from control_plane.releases.models import Release
from control_plane.teams.models import Organization
from kong_plugins.llm import events
from kong_plugins.llm.recovery import CounterPlace, Recovery
from kong_plugins.llm.release import BudgetUnit

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
# The end of a total lies beyond what Postgres knows as an instant.
_CLOSING_MS: Final = 86_400_000
_SETTLED: Final = ("posted", "expired", "adjusted")


def counted_events(
    organization: Organization, periods: Sequence[BudgetPeriod]
) -> list[tuple[BudgetPeriod, QuerySet[UsageEvent]]]:
    """The events of each period's budget: those of its scope that were admitted in it, while it was in force."""
    since_ms = min((period.starts_at_ms for period in periods), default=0)
    budgets_of_release = _budgets_by_release(organization, since_ms)
    found = []
    for period in periods:
        reference = period.budget.reference
        without = [number for number, budgets in budgets_of_release.items() if reference not in budgets]
        found.append((period, _events_in(organization, period).exclude(release__in=without)))
    return found


def used(counted: QuerySet[UsageEvent], unit: BudgetUnit) -> int:
    """What these events have used of a budget, in its unit."""
    total: int = counted.filter(kind__in=_SETTLED).aggregate(total=Sum(_AMOUNTS[unit], default=0))["total"]
    return total


def place_of(period: BudgetPeriod) -> CounterPlace:
    """Where gateways count it."""
    return CounterPlace(period.budget.reference, period.subject, period.name)


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
        periods = BudgetPeriod.objects.select_related("budget__organization", "budget__model").filter(
            budget__organization=organization,
            starts_at_ms__lte=event.reserved_at_ms,
            ends_at_ms__gt=event.reserved_at_ms,
            published_version__gt=0,
        )
        differences = [
            (place_of(period), used(counted.filter(event_id=event.id), period.budget.unit))
            for period, counted in counted_events(organization, list(periods))
        ]
        Recovery(live_state()).adjust(organization_slug, event.id, [each for each in differences if each[1]])


def _events_in(organization: Organization, period: BudgetPeriod) -> QuerySet[UsageEvent]:
    scope = scope_of(period.budget)
    found = UsageEvent.objects.filter(
        organization=organization.slug,
        reserved_at__gte=instant_of(period.starts_at_ms),
        reserved_at__lt=instant_of(min(period.ends_at_ms, now_ms() + _CLOSING_MS)),
    )
    if scope.model is not None:
        found = found.filter(request_model=scope.model)
    if scope.provider is not None:
        found = found.filter(provider=scope.provider)
    if scope.tag is not None:
        found = found.filter(tags__contains=[scope.tag])
    if scope.kind == "organization":
        return found
    if scope.kind == "user":
        found = found.filter(key__in=speaking_key_ids(organization.pk))
    return found.filter(**{scope.kind: period.subject})


def _budgets_by_release(organization: Organization, since_ms: int) -> dict[int, list[str]]:
    """The budgets in each release that calls since then can have been admitted under.

    A budget counts from the release on that first has it, so earlier calls of its period are not in Redis' sum.
    """
    releases = Release.objects.filter(organization=organization)
    in_force = releases.filter(created_at__lt=instant_of(since_ms)).aggregate(number=Max("number", default=0))
    budget_ids = Func(
        F("document"), template="jsonb_path_query_array(%(expressions)s, '$.budgets[*].id')", output_field=JSONField()
    )
    return dict(releases.filter(number__gte=in_force["number"]).values_list("number", budget_ids))
