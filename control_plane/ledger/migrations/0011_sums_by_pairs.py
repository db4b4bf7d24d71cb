from django.db import migrations, models

# Sums of what is there already; later days are made by the worker.
_COLUMNS = "requests, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd"
_SUMMED = """
    sum(CASE kind WHEN 'adjusted' THEN 0 ELSE requests END), sum(unpriced), sum(input_tokens), sum(cache_read_tokens),
    sum(cache_write_tokens), sum(output_tokens), sum(amount_nusd)
"""
_EACH_TAG = """unnest(CASE WHEN tags = '{}' THEN '{""}' ELSE tags END) AS tag"""
_FILL_PAIRS = f"""
INSERT INTO ledger_pairday (organization, day, pair, first, second, {_COLUMNS})
SELECT organization, day, pair, first, second, {_SUMMED}
FROM ledger_dayrollup CROSS JOIN LATERAL (
    VALUES ('user,request_model', "user", request_model), ('user,provider', "user", provider)
    UNION ALL
    SELECT of_tag.pair, of_tag.first, tag FROM {_EACH_TAG} CROSS JOIN LATERAL (
        VALUES ('user,tags', "user"), ('request_model,tags', request_model), ('provider,tags', provider)
    ) AS of_tag (pair, first)
) AS part (pair, first, second)
WHERE kind IN ('posted', 'expired', 'adjusted')
GROUP BY organization, day, pair, first, second
"""
_FILL_HOURS = f"""
INSERT INTO ledger_dimensionhour (organization, day, dimension, hour, value, {_COLUMNS})
SELECT organization, day, dimension, hour, value, {_SUMMED}
FROM ledger_hourrollup CROSS JOIN LATERAL (
    VALUES ('user', "user"), ('request_model', request_model), ('provider', provider)
    UNION ALL
    SELECT 'tags', tag FROM {_EACH_TAG}
) AS part (dimension, value)
WHERE kind IN ('posted', 'expired', 'adjusted')
GROUP BY organization, day, dimension, hour, value
"""


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0010_refusals_by_index_alone"),
    ]

    operations = [
        migrations.CreateModel(
            name="DimensionHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("organization", models.TextField()),
                ("day", models.DateField()),
                ("requests", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("cache_read_tokens", models.BigIntegerField(db_default=0)),
                ("cache_write_tokens", models.BigIntegerField(db_default=0)),
                ("output_tokens", models.BigIntegerField()),
                ("amount_nusd", models.BigIntegerField()),
                ("dimension", models.TextField()),
                ("hour", models.DateTimeField()),
                ("value", models.TextField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "dimension", "hour", "day", "value"), name="ledger_dimension_hour_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PairDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("organization", models.TextField()),
                ("day", models.DateField()),
                ("requests", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("cache_read_tokens", models.BigIntegerField(db_default=0)),
                ("cache_write_tokens", models.BigIntegerField(db_default=0)),
                ("output_tokens", models.BigIntegerField()),
                ("amount_nusd", models.BigIntegerField()),
                ("pair", models.TextField()),
                ("first", models.TextField()),
                ("second", models.TextField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "pair", "day", "first", "second"), name="ledger_pair_day_once"
                    )
                ],
            },
        ),
        migrations.RunSQL(_FILL_PAIRS, migrations.RunSQL.noop),
        migrations.RunSQL(_FILL_HOURS, migrations.RunSQL.noop),
    ]
