from typing import Any

from django.db import migrations
from django.db.models import F


def give(apps: Any, _schema: Any) -> None:
    """Budgets and limits that were there before were the organization's."""
    for name in ("Budget", "Limit"):
        apps.get_model("budgets", name).objects.filter(given_amount=None).update(given_amount=F("amount"))


class Migration(migrations.Migration):
    dependencies = [("budgets", "0005_given_amounts")]

    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
