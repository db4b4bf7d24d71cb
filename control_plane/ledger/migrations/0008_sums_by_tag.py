import django.contrib.postgres.fields
from django.db import migrations, models

_DIMENSIONS = ["team", "key", "user", "request_model", "provider", "kind", "outcome"]

# What the events of an hour with tags add up to moves out of the row that has none, into rows of their own; the days
# follow with their next aggregation.
_SPLIT_BY_TAGS = """
WITH tagged AS (
    SELECT
        rollup.id,
        ARRAY(SELECT DISTINCT tag COLLATE "C" FROM unnest(event.tags) AS tag ORDER BY 1) AS tags,
        count(*) FILTER (WHERE event.kind <> 'adjusted') AS requests,
        count(*) FILTER (WHERE event.amount_nusd IS NULL) - count(*) FILTER (WHERE event.outcome = 'repriced') AS unpriced,
        sum(event.input_tokens) AS input_tokens,
        sum(event.cache_read_tokens) AS cache_read_tokens,
        sum(event.cache_write_tokens) AS cache_write_tokens,
        sum(event.output_tokens) AS output_tokens,
        coalesce(sum(event.amount_nusd), 0) AS amount_nusd
    FROM ledger_hourrollup AS rollup
    JOIN ledger_usageevent AS event USING (organization, team, key, "user", request_model, provider, kind, outcome)
    WHERE event.reserved_at >= rollup.hour AND event.reserved_at < rollup.hour + interval '1 hour' AND event.tags <> '{}'
    GROUP BY 1, 2
), added AS (
    INSERT INTO ledger_hourrollup (
        organization, hour, day, team, key, "user", request_model, provider, kind, outcome, tags,
        requests, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd, is_in_day
    )
    SELECT
        organization, hour, day, team, key, "user", request_model, provider, kind, outcome, tagged.tags,
        tagged.requests, tagged.unpriced, tagged.input_tokens, tagged.cache_read_tokens, tagged.cache_write_tokens,
        tagged.output_tokens, tagged.amount_nusd, false
    FROM tagged JOIN ledger_hourrollup USING (id)
), moved AS (
    SELECT
        id, sum(requests) AS requests, sum(unpriced) AS unpriced, sum(input_tokens) AS input_tokens,
        sum(cache_read_tokens) AS cache_read_tokens, sum(cache_write_tokens) AS cache_write_tokens,
        sum(output_tokens) AS output_tokens, sum(amount_nusd) AS amount_nusd
    FROM tagged
    GROUP BY id
)
UPDATE ledger_hourrollup AS rollup SET
    requests = rollup.requests - moved.requests,
    unpriced = rollup.unpriced - moved.unpriced,
    input_tokens = rollup.input_tokens - moved.input_tokens,
    cache_read_tokens = rollup.cache_read_tokens - moved.cache_read_tokens,
    cache_write_tokens = rollup.cache_write_tokens - moved.cache_write_tokens,
    output_tokens = rollup.output_tokens - moved.output_tokens,
    amount_nusd = rollup.amount_nusd - moved.amount_nusd,
    is_in_day = false
FROM moved
WHERE moved.id = rollup.id
"""


def _sums_with_tags(model: str, constraint: str, span: str) -> list[migrations.operations.base.Operation]:
    return [
        migrations.AddField(
            model_name=model,
            name="tags",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), db_default=[], size=None),
        ),
        migrations.RemoveConstraint(model_name=model, name=constraint),
        migrations.AddConstraint(
            model_name=model,
            constraint=models.UniqueConstraint(fields=["organization", span, *_DIMENSIONS, "tags"], name=constraint),
        ),
    ]


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0007_sums_of_teams_and_models"),
    ]

    operations = [
        *_sums_with_tags("hourrollup", "ledger_hour_once", "hour"),
        *_sums_with_tags("dayrollup", "ledger_day_once", "day"),
        migrations.RunSQL(_SPLIT_BY_TAGS, migrations.RunSQL.noop),
    ]
