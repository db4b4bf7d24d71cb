"""The ledger: immutable events, the sums that are kept of them, and what could not be read.

Organizations, teams, keys and users are stored as their text ids, because the ledger outlives their rows.
Absent text is "", an unknown amount is NULL. Amounts are integer nano-USD.
"""

from __future__ import annotations

from typing import Final, get_args

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from kong_plugins.llm.events import EventKind
from kong_plugins.llm.usage import Quality

EVENT_KINDS: Final = [(kind, kind) for kind in get_args(EventKind)]
# In what the events of one row of sums agree, besides their organization and their time.
DIMENSIONS: Final = ("team", "key", "user", "request_model", "provider", "kind", "outcome", "tags")
QUALITIES: Final = [(quality, quality.replace("_", " ")) for quality in get_args(Quality)]


class UsageEvent(models.Model):
    """One `kong_plugins.llm.events.UsageEvent`, as it happened.

    The table is partitioned by the month of `reserved_at` (UTC), and a trigger refuses UPDATE and DELETE: what is
    wrong is corrected by a new row, what is old is dropped with its partition. `event_id` is unique by itself; the
    constraint can say so only within a month, the ingest sees to the rest.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.TextField()
    request_id = models.TextField()
    kind = models.TextField(choices=EVENT_KINDS)
    outcome = models.TextField()
    http_status = models.IntegerField(null=True)
    organization = models.TextField()
    team = models.TextField()
    key = models.TextField("key id")
    user = models.TextField()
    tags = ArrayField(models.TextField())
    tier = models.TextField()
    protocol = models.TextField()
    provider = models.TextField()
    deployment = models.TextField()
    region = models.TextField()
    request_model = models.TextField()
    response_model = models.TextField()
    input_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    cache_write_1h_tokens = models.BigIntegerField(db_default=0)
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    input_audio_tokens = models.BigIntegerField(db_default=0)
    cache_read_audio_tokens = models.BigIntegerField(db_default=0)
    input_image_tokens = models.BigIntegerField(db_default=0)
    cache_read_image_tokens = models.BigIntegerField(db_default=0)
    input_video_tokens = models.BigIntegerField(db_default=0)
    output_audio_tokens = models.BigIntegerField(db_default=0)
    output_image_tokens = models.BigIntegerField(db_default=0)
    output_video_tokens = models.BigIntegerField(db_default=0)
    units = models.JSONField(db_default={})
    service_tier = models.TextField(db_default="")
    quality = models.TextField(choices=QUALITIES)
    amount_nusd = models.BigIntegerField(null=True)
    hold_nusd = models.BigIntegerField()
    price_version = models.TextField()
    release = models.BigIntegerField(null=True)
    candidates = ArrayField(models.TextField())
    refusing_scope = models.TextField()
    requested_max_tokens = models.BigIntegerField(null=True)
    granted_max_tokens = models.BigIntegerField(null=True)
    input_bound_tokens = models.BigIntegerField(null=True)
    seq = models.BigIntegerField()
    reserved_at = models.DateTimeField()
    posted_at = models.DateTimeField()
    latency_ms = models.BigIntegerField(null=True)
    first_token_ms = models.BigIntegerField(null=True)
    trace_id = models.TextField()
    degraded_from = models.TextField(db_default="")
    queued_ms = models.BigIntegerField(null=True)
    shadow_refusals = ArrayField(models.TextField(), db_default=[])

    class Meta:
        verbose_name = "event"
        constraints = [
            models.UniqueConstraint(fields=["event_id", "reserved_at"], name="ledger_event_once"),
        ]
        indexes = [
            models.Index(fields=["request_id"], name="ledger_event_request"),
            models.Index(fields=["organization", "-id"], name="ledger_event_newest"),
            models.Index(fields=["reserved_at"], name="ledger_event_time"),
            models.Index(fields=["organization", "team", "-id"], name="ledger_event_team"),
            models.Index(fields=["organization", "key", "-id"], name="ledger_event_key"),
            models.Index(
                fields=["organization", "reserved_at"], name="ledger_event_shadow", condition=~Q(shadow_refusals=[])
            ),
            models.Index(fields=["organization", "id"], name="ledger_event_unpriced", condition=Q(amount_nusd=None)),
            models.Index(fields=["organization", "-id"], name="ledger_event_degraded", condition=~Q(degraded_from="")),
            models.Index(
                fields=["organization", "reserved_at"],
                include=["team", "refusing_scope"],
                name="ledger_event_refusals",
                condition=Q(kind="refused"),
            ),
            models.Index(
                fields=["organization", "team", "reserved_at"],
                name="ledger_event_team_refused",
                condition=Q(kind="refused"),
            ),
        ]

    def __str__(self) -> str:
        return self.event_id


class Rollup(models.Model):
    """Sums over the events of one span that agree in everything named here.

    `tags` are those of the calls, in alphabetical order. `requests` counts calls: every event but `adjusted`, which
    corrects a call that is counted already.
    `unpriced` counts the events whose amount is unknown; they add nothing to `amount_nusd`.
    """

    organization = models.TextField()
    team = models.TextField()
    key = models.TextField()
    user = models.TextField()
    request_model = models.TextField()
    provider = models.TextField()
    kind = models.TextField()
    outcome = models.TextField()
    tags = ArrayField(models.TextField(), db_default=[])
    day = models.DateField()
    requests = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    amount_nusd = models.BigIntegerField()

    class Meta:
        abstract = True


class HourRollup(Rollup):
    """Sums by the local hour of admission, kept by the ingest in the transaction that inserts the events.

    `hour` is the instant at which the hour begins and `day` its date, both in the time zone that the
    organization had when the row was made. `is_in_day` says that the day's sums already hold this row.
    """

    hour = models.DateTimeField()
    is_in_day = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "spend"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "hour", *DIMENSIONS],
                name="ledger_hour_once",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "day"], name="ledger_hour_day"),
            models.Index(fields=["organization", "day"], name="ledger_hour_not_in_day", condition=Q(is_in_day=False)),
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.hour.isoformat()}"


class DayRollup(Rollup):
    """Sums by the local day of admission, made of `HourRollup` by the task `aggregate_days`."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", *DIMENSIONS],
                name="ledger_day_once",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "team", "day"], name="ledger_day_team"),
            models.Index(fields=["organization", "request_model", "day"], name="ledger_day_model"),
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.day.isoformat()}"


class ChargeSums(models.Model):
    """Sums of charges of a day that are coarse enough for a page to read a whole organization's month of them.

    Made of finer sums in the transaction that brings the day up to date. `requests` counts calls that a provider
    charges for.
    """

    organization = models.TextField()
    day = models.DateField()
    requests = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField(db_default=0)
    cache_write_tokens = models.BigIntegerField(db_default=0)
    output_tokens = models.BigIntegerField()
    amount_nusd = models.BigIntegerField()

    class Meta:
        abstract = True


class DaySums(ChargeSums):
    """`failed` counts calls that got no whole answer, charged for or not, `refused` what a limit has refused."""

    failed = models.BigIntegerField()
    refused = models.BigIntegerField()

    class Meta:
        abstract = True


class TeamDay(DaySums):
    """What a team has used on a day."""

    team = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "team", "day"], name="ledger_team_day_once")]
        indexes = [models.Index(fields=["organization", "day"], name="ledger_team_day_day")]

    def __str__(self) -> str:
        return f"{self.organization} {self.team} {self.day.isoformat()}"


class ModelDay(DaySums):
    """What all teams together have used of a model of a provider on a day."""

    request_model = models.TextField()
    provider = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", "request_model", "provider"], name="ledger_model_day_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.request_model} {self.day.isoformat()}"


class PairDay(ChargeSums):
    """What all teams together have used on a day, by two of what the ledger knows of a call.

    `pair` names the two columns, with a comma between; a call with several tags is in the row of each, and one without
    any in that of "".
    """

    pair = models.TextField()
    first = models.TextField()
    second = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "pair", "day", "first", "second"], name="ledger_pair_day_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.pair} {self.day.isoformat()}"


class DimensionHour(ChargeSums):
    """What all teams together have used in an hour, by the column that `dimension` names; tags as with `PairDay`."""

    dimension = models.TextField()
    hour = models.DateTimeField()
    value = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "dimension", "hour", "day", "value"], name="ledger_dimension_hour_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.dimension} {self.hour.isoformat()}"


class RefusalCount(models.Model):
    """How many calls of an hour (UTC) a limit or a budget has refused beyond those that are written as events."""

    organization = models.TextField()
    hour = models.DateTimeField()
    team = models.TextField()
    refusing_scope = models.TextField()
    calls = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "refusals"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "hour", "team", "refusing_scope"], name="ledger_refusal_count_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.hour.isoformat()}"


class DeadLetter(models.Model):
    """A stream entry that the ledger could not take, whole, so that it can be read by a person."""

    organization = models.TextField()
    entry_id = models.TextField()
    type = models.TextField()
    payload = models.BinaryField()
    reason = models.TextField()
    deliveries = models.IntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "entry_id"], name="ledger_dead_letter_once"),
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.entry_id}"


class Checkpoint(models.Model):
    """What the events of an organization with ids up to `until_id` add up to, for one question that is asked often."""

    organization = models.TextField()
    name = models.TextField()
    until_id = models.BigIntegerField()
    made_at = models.DateTimeField()
    sums = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="ledger_checkpoint_once")]

    def __str__(self) -> str:
        return f"{self.organization}: {self.name}"


class Reconciliation(models.Model):
    """The newest comparison of an organization's books; `difference` is "" where they agree."""

    organization = models.TextField(unique=True)
    checked_at = models.DateTimeField()
    difference = models.TextField()
    since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.organization}: {self.difference or 'no difference'}"
