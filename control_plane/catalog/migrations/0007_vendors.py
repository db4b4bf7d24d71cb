from typing import Any

from django.db import migrations, models

import control_plane.catalog.validators
import control_plane.catalog.vendors

# The vendors whose address says who they are, with the formats that they served until now.
_AT = {
    "https://api.openai.com/v1": ("openai", {"openai_chat"}),
    "https://api.anthropic.com/v1": ("anthropic", {"openai_chat", "anthropic_messages"}),
}


def name_known_vendors(apps: Any, schema_editor: Any) -> None:
    for provider in apps.get_model("catalog", "Provider").objects.filter(base_url__in=_AT):
        vendor, formats = _AT[provider.base_url]
        if set(provider.deployments.values_list("protocol", flat=True)) <= formats:
            provider.vendor = vendor
            provider.save(update_fields=["vendor"])


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0006_price_book"),
    ]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="authentication",
            field=models.CharField(
                choices=control_plane.catalog.vendors.credential_choices,
                default="api_key",
                max_length=32,
                verbose_name="kind of credential",
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="vendor",
            field=models.CharField(
                choices=control_plane.catalog.vendors.vendor_choices, default="custom", max_length=32
            ),
        ),
        migrations.AlterField(
            model_name="provider",
            name="base_url",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Up to and with the version, such as https://api.openai.com/v1; empty for the vendor's own address. {model} stands for the provider's name of a model, {region} for the deployment's region.",
                max_length=500,
                validators=[control_plane.catalog.validators.validate_base_url],
            ),
        ),
        migrations.RunPython(name_known_vendors, migrations.RunPython.noop),
    ]
