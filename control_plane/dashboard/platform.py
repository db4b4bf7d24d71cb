"""The home page of who runs the gateways: traffic, errors, latency, deployments, releases, and the ledger's health."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.urls import reverse

from control_plane.catalog.failing import failing_deployments
from control_plane.catalog.models import Deployment
from control_plane.dashboard.charts import CALLS, COLOURS, MILLISECONDS, Chart, Series
from control_plane.dashboard.health import health_of
from control_plane.dashboard.view import View
from control_plane.ledger.models import HourRollup
from control_plane.ledger.rows import hour_start
from control_plane.ledger.traffic import Hour, Latency, failures, latency_by_hour, traffic_by_hour
from control_plane.releases.models import Release
from control_plane.rights.scope import visible
from control_plane.tables import NOTHING, Cell, Column, Listed, Table, count
from kong_plugins.llm.errors import StoreUnavailable

_HOURS: Final = 24
_RELEASES_LISTED: Final = 100
_NO_HOUR: Final = Hour(answered=0, failed=0, refused=0)


def platform_page(view: View) -> dict[str, Any]:
    """What the template `admin/home/platform.html` shows: the last 24 hours, and how things stand now."""
    this_hour = hour_start(view.now, view.organization.zone)
    hours = [this_hour - timedelta(hours=number) for number in range(_HOURS - 1, -1, -1)]
    slug = view.organization.slug
    traffic = traffic_by_hour(_hours(view), slug, start=hours[0])
    latency = latency_by_hour(slug, start=hours[0])
    return {
        "cards": _cards(list(traffic.values()), list(latency.values())),
        "health": health_of(view),
        "charts": [_traffic_chart(view, hours, traffic), _latency_chart(view, hours, latency)],
        "tables": [_failure_table(view, hours[0]), _deployment_table(view), _release_table(view)],
    }


def _hours(view: View) -> Any:
    return visible(HourRollup.objects.all(), view.person)


def _cards(hours: list[Hour], latencies: list[Latency]) -> list[tuple[str, str, str]]:
    answered, failed = sum(hour.answered for hour in hours), sum(hour.failed for hour in hours)
    refused = sum(hour.refused for hour in hours)
    total = answered + failed + refused
    slowest = max((latency.p95_ms for latency in latencies), default=None)
    return [
        ("Calls", f"{total:,}", "in the last 24 hours"),
        ("Failed", _percent(failed, total), f"{failed:,} got no whole answer"),
        ("Refused", _percent(refused, total), f"{refused:,} by a limit or a budget"),
        ("Slowest hour", "–" if slowest is None else f"{slowest:,} ms", "95 of 100 calls took at most so long"),
    ]


def _percent(part: int, total: int) -> str:
    per_mille = (2_000 * part + total) // (2 * total) if total else 0
    return f"{per_mille // 10}.{per_mille % 10} %"


def _label(view: View, hour: datetime) -> str:
    return f"{hour.astimezone(view.organization.zone):%H:%M}"


def _traffic_chart(view: View, hours: list[datetime], traffic: dict[datetime, Hour]) -> Chart:
    found = [traffic.get(hour, _NO_HOUR) for hour in hours]
    worst = max(zip(found, hours, strict=True), key=lambda each: each[0].failed)
    return Chart(
        question="Do calls get through?",
        answer=f"Most failures were at {_label(view, worst[1])}: {worst[0].failed:,}."
        if worst[0].failed
        else "No call has failed.",
        kind="bar",
        unit=CALLS,
        labels=[_label(view, hour) for hour in hours],
        series=[
            Series(name="Answered", values=[hour.answered for hour in found], colour=COLOURS[0]),
            Series(name="Refused", values=[hour.refused for hour in found], colour=COLOURS[1]),
            Series(name="Failed", values=[hour.failed for hour in found], colour=COLOURS[5]),
        ],
        stacked=True,
    )


def _latency_chart(view: View, hours: list[datetime], latency: dict[datetime, Latency]) -> Chart:
    found = [latency.get(hour) for hour in hours]
    newest = next((each for each in reversed(found) if each), None)
    return Chart(
        question="How long do answers take?",
        answer=f"In the newest hour half of the calls took at most {newest.median_ms:,} ms, "
        f"95 of 100 at most {newest.p95_ms:,} ms."
        if newest
        else "There were no answers.",
        kind="line",
        unit=MILLISECONDS,
        labels=[_label(view, hour) for hour in hours],
        series=[
            Series(
                name="Half of the calls", values=[each.median_ms if each else None for each in found], colour=COLOURS[0]
            ),
            Series(name="95 of 100", values=[each.p95_ms if each else None for each in found], colour=COLOURS[1]),
        ],
    )


def _failure_table(view: View, start: datetime) -> Table:
    lines = [
        (
            Cell(row.provider or NOTHING),
            Cell(row.model or NOTHING),
            Cell(row.outcome.replace("_", " ")),
            count(row.calls),
        )
        for row in failures(_hours(view), view.organization.slug, start=start)
    ]
    return Table(
        name="failures",
        title="What failed in the last 24 hours",
        columns=(
            *(Column("Provider", "provider", is_choice=True), Column("Model", "model", is_choice=True)),
            *(Column("Outcome", "outcome", is_choice=True), Column("Calls", "calls", is_number=True)),
        ),
        source=Listed(lines),
        nothing="Nothing like that has failed." if lines else "Nothing has failed.",
        query=view.asked,
        export=view.file_of("platform", "failures"),
        lines_a_page=10,
        more=Cell("All events", reverse("admin:ledger_usageevent_changelist")),
    )


def _deployment_table(view: View) -> Table:
    rows = visible(Deployment.objects.select_related("model__organization", "provider"), view.person)
    found = list(rows.filter(model__organization=view.organization, active=True).order_by("model__name", "order", "pk"))
    try:
        failing = {each.deployment: each for each in failing_deployments(found)}
    except StoreUnavailable:
        failing, unknown = {}, "not known: Redis cannot be reached"
    else:
        unknown = "takes calls"
    found.sort(key=lambda row: row.pk not in failing)
    return Table(
        name="deployments",
        title=f"Deployments, {len(failing)} of {len(found)} failing",
        columns=(
            *(Column("Model", "model", is_choice=True), Column("Provider", "provider", is_choice=True)),
            *(Column("Asked as", "asked_as", is_choice=True), Column("Region", "region", is_choice=True)),
            Column("State", "state", is_choice=True),
        ),
        source=Listed(
            [
                (
                    Cell(row.model.name, reverse("admin:catalog_deployment_change", args=[row.pk])),
                    Cell(row.provider.name),
                    Cell(row.protocol.replace("_", " ")),
                    Cell(row.region or NOTHING),
                    Cell(_state(failing[row.pk]) if row.pk in failing else unknown),
                )
                for row in found
            ]
        ),
        nothing="No deployment is like that." if found else "There are no deployments yet.",
        query=view.asked,
        export=view.file_of("platform", "deployments"),
        more=Cell("All deployments", reverse("admin:catalog_deployment_changelist")),
    )


def _state(failing: Any) -> str:
    return f"failing: {failing.failures} in a row, the last with {failing.status}"


def _release_table(view: View) -> Table:
    rows = visible(Release.objects.defer("document"), view.person).filter(organization=view.organization)
    lines = [
        (
            Cell(str(row.number), reverse("admin:releases_release_change", args=[row.pk]), value=row.number),
            Cell(row.created_by),
            Cell(f"{row.created_at.astimezone(view.organization.zone):%Y-%m-%d %H:%M}"),
            Cell("live" if number == 0 and row.live else "was live" if row.live else "not published yet"),
        )
        for number, row in enumerate(rows.order_by("-number")[:_RELEASES_LISTED])
    ]
    return Table(
        name="releases",
        title="Newest releases",
        columns=(
            *(Column("Release", "release"), Column("By", "by", is_choice=True), Column("Made", "made")),
            Column("State", "state", is_choice=True),
        ),
        source=Listed(lines),
        nothing="No release is like that." if lines else "Nothing was published yet.",
        query=view.asked,
        export=view.file_of("platform", "releases"),
        lines_a_page=5,
        more=Cell("All releases", reverse("admin:releases_release_changelist")),
    )
