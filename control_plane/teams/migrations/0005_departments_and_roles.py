from typing import Any

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


def take_organization_of_team(apps: Any, schema_editor: Any) -> None:
    teams = apps.get_model("teams", "Team").objects.filter(pk=models.OuterRef("team"))
    memberships = apps.get_model("teams", "Membership").objects
    memberships.update(organization=models.Subquery(teams.values("organization")[:1]))


def forget_others(apps: Any, schema_editor: Any) -> None:
    apps.get_model("teams", "Membership").objects.filter(team=None).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("teams", "0004_where_calls_may_go"),
    ]

    operations = [
        migrations.CreateModel(
            name="Department",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "slug",
                    models.CharField(
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\Z",
                                "Use lower-case letters, digits and hyphens, with a letter or digit at both ends; at most 63.",
                            )
                        ],
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        max_length=100,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[^\\s\\x00-\\x1f\\x7f]([^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f])?\\Z",
                                "Use printable characters, without blanks at the ends.",
                            )
                        ],
                    ),
                ),
                (
                    "cost_centre",
                    models.CharField(
                        blank=True,
                        help_text="What its teams are charged to by default.",
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[^\\s\\x00-\\x1f\\x7f]([^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f])?\\Z",
                                "Use printable characters, without blanks at the ends.",
                            )
                        ],
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["slug"],
            },
        ),
        migrations.AlterModelOptions(
            name="membership",
            options={"ordering": ["organization", "user", "id"]},
        ),
        migrations.RemoveConstraint(
            model_name="membership",
            name="membership_unique",
        ),
        migrations.RemoveConstraint(
            model_name="membership",
            name="membership_role",
        ),
        migrations.AddField(
            model_name="membership",
            name="organization",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="teams.organization",
            ),
        ),
        migrations.RunPython(take_organization_of_team, forget_others),
        migrations.AlterField(
            model_name="membership",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to="teams.organization"
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="cost_centre",
            field=models.CharField(
                blank=True,
                help_text="What the team is charged to; its department's if none is given.",
                max_length=64,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[^\\s\\x00-\\x1f\\x7f]([^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f])?\\Z",
                        "Use printable characters, without blanks at the ends.",
                    )
                ],
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="is_service",
            field=models.BooleanField(default=False, verbose_name="service account"),
        ),
        migrations.AlterField(
            model_name="membership",
            name="role",
            field=models.CharField(
                choices=[
                    ("platform_admin", "Platform admin"),
                    ("finance", "Finance"),
                    ("auditor", "Auditor"),
                    ("owner", "Owner"),
                    ("member", "Member"),
                    ("viewer", "Viewer"),
                ],
                default="member",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="membership",
            name="team",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="teams.team",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_service", False), ("is_superuser", False), _connector="OR"),
                name="user_service_is_no_superuser",
                violation_error_message="A service account is no superuser: give it a membership.",
            ),
        ),
        migrations.AddField(
            model_name="department",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="departments", to="teams.organization"
            ),
        ),
        migrations.AddField(
            model_name="membership",
            name="department",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="teams.department",
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="department",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="teams",
                to="teams.department",
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(
                fields=("user", "organization", "department", "team", "role"),
                name="membership_unique",
                nulls_distinct=False,
                violation_error_message="The person has this role already.",
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("department", None), ("role__in", ("platform_admin", "finance", "auditor")), ("team", None)
                    ),
                    models.Q(("department__isnull", False), ("role", "owner"), ("team", None)),
                    models.Q(
                        ("department", None), ("role__in", ("owner", "member", "viewer")), ("team__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="membership_role_has_its_place",
                violation_error_message="A platform admin, finance and an auditor are of the whole organization, an owner of a department or a team, members and viewers of a team.",
            ),
        ),
        migrations.AddConstraint(
            model_name="department",
            constraint=models.UniqueConstraint(fields=("organization", "slug"), name="department_slug_unique"),
        ),
        migrations.AddConstraint(
            model_name="department",
            constraint=models.UniqueConstraint(fields=("organization", "name"), name="department_name_unique"),
        ),
        migrations.AddConstraint(
            model_name="department",
            constraint=models.CheckConstraint(
                condition=models.Q(("slug__regex", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\Z")), name="department_slug"
            ),
        ),
    ]
