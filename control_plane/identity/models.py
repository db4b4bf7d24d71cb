"""What groups of the identity provider mean here, and whom and which groups its directory has told us of by SCIM."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from control_plane.names import validate_text
from control_plane.rights.roles import ORGANIZATION_ROLES, ROLES, TEAM_ROLES, Role
from control_plane.teams.models import validate_place


class GroupMapping(models.Model):
    """Who is in a group of the identity provider has a role here, from their next log-in until they are in it no more.

    `group` is the name, or the id, that the provider sends. A mapping is made and removed, never changed.
    """

    organization = models.ForeignKey("teams.Organization", on_delete=models.CASCADE, related_name="group_mappings")
    group = models.CharField(
        max_length=200, validators=[validate_text], help_text="As the identity provider sends it; case counts."
    )
    role: models.CharField[Role, Role] = models.CharField(max_length=16, choices=ROLES)
    department = models.ForeignKey("teams.Department", null=True, blank=True, on_delete=models.CASCADE)
    team = models.ForeignKey("teams.Team", null=True, blank=True, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["organization", "group", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "group", "role", "department", "team"],
                name="group_mapping_unique",
                nulls_distinct=False,
                violation_error_message="The group has this role already.",
            ),
            models.CheckConstraint(
                condition=Q(role__in=ORGANIZATION_ROLES, department=None, team=None)
                | Q(role="owner", department__isnull=False, team=None)
                | Q(role__in=TEAM_ROLES, department=None, team__isnull=False),
                name="group_mapping_role_has_its_place",
                violation_error_message="A platform admin, finance and an auditor are of the whole organization, "
                "an owner of a department or a team, members and viewers of a team.",
            ),
        ]

    def __str__(self) -> str:
        place = self.team or self.department or self.organization
        return f"{self.group}: {self.get_role_display().lower()} of {place}"

    def clean(self) -> None:
        """An organization that was not named is that of the department or team."""
        validate_place(self)


class DirectoryPerson(models.Model):
    """That an organization's directory knows somebody, by which id of its own, and whether they are `active` there.

    A person belongs to the organization by this, as by a role, though they may have none yet.
    """

    organization = models.ForeignKey("teams.Organization", on_delete=models.CASCADE, related_name="directory_people")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="directory_entries")
    external_id = models.CharField(max_length=200, blank=True, validators=[validate_text])
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["organization", "id"]
        verbose_name_plural = "directory people"
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="directory_person_once"),
            models.UniqueConstraint(
                fields=["organization", "external_id"],
                condition=~Q(external_id=""),
                name="directory_person_external_id",
                violation_error_message="Somebody else has this externalId.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in the directory of {self.organization}"


class DirectoryGroup(models.Model):
    """A group that an organization's directory has told us of, with who is in it; what it means here, mappings say."""

    organization = models.ForeignKey("teams.Organization", on_delete=models.CASCADE, related_name="directory_groups")
    name = models.CharField(max_length=200, validators=[validate_text])
    external_id = models.CharField(max_length=200, blank=True, validators=[validate_text])
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="directory_groups", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["organization", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="directory_group_name",
                violation_error_message="There is a group with this displayName.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def names(self) -> list[str]:
        """What mappings may call it: log-ins bring the names of groups from some providers, from others their ids."""
        return [name for name in (self.name, self.external_id) if name]
