"""The refusals of a month are counted from an index alone. It is built partition by partition, while events come in."""

from typing import Any

from django.db import migrations, models

INDEX = "ledger_event_refusals"
BUILD = """
CREATE INDEX {mode} {name} ON {only} {table} (organization, reserved_at) INCLUDE (team, refusing_scope)
WHERE kind = 'refused'
"""
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger_usageevent'::regclass"


def build(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {INDEX}")  # what an interrupted run has left
        cursor.execute(BUILD.format(mode="", name=INDEX, only="ONLY", table="ledger_usageevent"))
        cursor.execute(PARTITIONS)
        for (table,) in cursor.fetchall():
            name = f"{table}_refusals"
            cursor.execute(f"DROP INDEX IF EXISTS {name}")
            cursor.execute(BUILD.format(mode="CONCURRENTLY", name=name, only="", table=table))
            cursor.execute(f"ALTER INDEX {INDEX} ATTACH PARTITION {name}")


def drop(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(f"DROP INDEX {INDEX}")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("ledger", "0009_coarse_sums_of_all_tokens"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(build, drop)],
            state_operations=[
                migrations.AddIndex(
                    model_name="usageevent",
                    index=models.Index(
                        condition=models.Q(("kind", "refused")),
                        fields=["organization", "reserved_at"],
                        include=("team", "refusing_scope"),
                        name=INDEX,
                    ),
                ),
            ],
        ),
        migrations.RemoveIndex(model_name="usageevent", name="ledger_event_refused"),
    ]
