from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("budgets", "0004_carry_over_and_extensions"),
        ("catalog", "0008_weights_and_fallbacks"),
        ("teams", "0005_departments_and_roles"),
    ]

    operations = [
        migrations.AddField(
            model_name="budget",
            name="given_amount",
            field=models.BigIntegerField(
                blank=True,
                editable=False,
                help_text="What the organization has given: its owner may lower the amount and raise it up to this. None for what a team has set for itself.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="limit",
            name="given_amount",
            field=models.BigIntegerField(
                blank=True,
                editable=False,
                help_text="What the organization has given: its owner may lower the amount and raise it up to this. None for what a team has set for itself.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("given_amount", None), ("amount__lte", models.F("given_amount")), _connector="OR"),
                name="budget_given_amount",
                violation_error_message="The amount is above what the organization has given.",
            ),
        ),
        migrations.AddConstraint(
            model_name="limit",
            constraint=models.CheckConstraint(
                condition=models.Q(("given_amount", None), ("amount__lte", models.F("given_amount")), _connector="OR"),
                name="limit_given_amount",
                violation_error_message="The amount is above what the organization has given.",
            ),
        ),
    ]
