from django.db import migrations, models

SUMS = ("unpriced", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "amount_nusd")
FILL = """
UPDATE {table} AS coarse SET {assigned}
FROM (
    SELECT organization, day, {key}, {summed}
    FROM ledger_dayrollup WHERE kind IN ('posted', 'expired', 'adjusted')
    GROUP BY organization, day, {key}
) AS fine
WHERE fine.organization = coarse.organization AND fine.day = coarse.day AND {joined}
"""


def fill(table: str, *key: str) -> str:
    """What whole days of finer sums say, of charges alone."""
    return FILL.format(
        table=table,
        key=", ".join(key),
        assigned=", ".join(f"{name} = fine.{name}" for name in SUMS),
        summed=", ".join(f"sum({name}) AS {name}" for name in SUMS),
        joined=" AND ".join(f"fine.{name} = coarse.{name}" for name in key),
    )


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0008_sums_by_tag"),
    ]

    operations = [
        migrations.AddField(
            model_name="modelday",
            name="cache_read_tokens",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="modelday",
            name="cache_write_tokens",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="teamday",
            name="cache_read_tokens",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="teamday",
            name="cache_write_tokens",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.RunSQL(fill("ledger_teamday", "team"), migrations.RunSQL.noop),
        migrations.RunSQL(fill("ledger_modelday", "request_model", "provider"), migrations.RunSQL.noop),
    ]
