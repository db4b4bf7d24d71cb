"""What can be called: providers, the models that clients ask for, and who serves them at which price."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from control_plane.catalog.protocols import protocol_choices
from control_plane.catalog.validators import validate_base_url
from control_plane.catalog.vendors import check_deployment, check_provider, credential_choices, vendor_choices
from control_plane.names import (
    MODEL_NAME_PATTERN,
    SLUG_PATTERN,
    validate_model_name,
    validate_slug,
)
from kong_plugins.llm.vendors import CUSTOM

# One token of the dearest models costs about 10⁶ nano-USD; a thousand dollars a token is an entry error.
MAX_PRICE_NUSD: Final = 10**18
MAX_TOKENS: Final = 100_000_000
MAX_STAND_INS: Final = 5
MAX_WEIGHT: Final = 1_000
# A sound of less is billed as so long, and none of more fits into a request.
SHORTEST_AUDIO_S: Final = 10
LONGEST_AUDIO_S: Final = 86_400
PRICE_FIELDS: Final = ("input_nusd", "cache_read_nusd", "cache_write_nusd", "output_nusd")
# Not every price names these; what they come to then is the core's to say (`kong_plugins.llm.prices`).
OPTIONAL_PRICE_FIELDS: Final = ("cache_write_1h_nusd",)


class Provider(models.Model):
    """Where models are served, and by which vendor; from that follow the formats that its deployments may speak, their
    address where `base_url` is empty, and the header of an API key.

    The credential is sealed with the id `credential_id` and never shown again.
    """

    organization = models.ForeignKey("teams.Organization", on_delete=models.PROTECT, related_name="providers")
    name = models.CharField(max_length=63, validators=[validate_slug])
    vendor = models.CharField(max_length=32, choices=vendor_choices, default=CUSTOM)
    base_url = models.CharField(
        max_length=500,
        blank=True,
        default="",
        validators=[validate_base_url],
        help_text="Up to and with the version, such as https://api.openai.com/v1; empty for the vendor's own address. "
        "{model} stands for the provider's name of a model, {region} for the deployment's region.",
    )
    authentication = models.CharField(
        "kind of credential", max_length=32, choices=credential_choices, default="api_key"
    )
    sealed_credential = models.TextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="provider_name_unique"),
            models.CheckConstraint(condition=Q(name__regex=SLUG_PATTERN), name="provider_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        check_provider(self)

    @property
    def credential_id(self) -> str:
        return f"{self.organization.slug}/{self.name}"


class Model(models.Model):
    """A model by the name that clients ask for; it never changes, since the ledger names it."""

    organization = models.ForeignKey("teams.Organization", on_delete=models.PROTECT, related_name="models")
    name = models.CharField(max_length=128, validators=[validate_model_name])
    context_window_tokens = models.PositiveIntegerField()
    max_output_tokens = models.PositiveIntegerField()
    default_output_tokens = models.PositiveIntegerField(
        help_text="What a call may produce that does not say how much it wants."
    )
    fall_back_to = ArrayField(
        models.CharField(max_length=128, validators=[validate_model_name]),
        default=list,
        blank=True,
        validators=[MaxLengthValidator(MAX_STAND_INS, f"At most {MAX_STAND_INS} models.")],
        help_text="The models that are as good: tried after it, in this order, where each of its own deployments is "
        "failing, or a limit or a budget has no room for it.",
    )
    degrade_to = ArrayField(
        models.CharField(max_length=128, validators=[validate_model_name]),
        default=list,
        blank=True,
        validators=[MaxLengthValidator(MAX_STAND_INS, f"At most {MAX_STAND_INS} models.")],
        help_text="The lesser models: tried last, in this order, and from the percentage on at which a budget "
        "degrades.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="model_name_unique"),
            models.CheckConstraint(condition=Q(name__regex=MODEL_NAME_PATTERN), name="model_name"),
            models.CheckConstraint(
                condition=Q(default_output_tokens__gte=1)
                & Q(default_output_tokens__lte=F("max_output_tokens"))
                & Q(max_output_tokens__lte=F("context_window_tokens")),
                name="model_token_bounds",
                violation_error_message=(
                    "It must hold that 1 ≤ default_output_tokens ≤ max_output_tokens ≤ context_window_tokens."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Deployment(models.Model):
    """One model at one provider. Deployments of a model are tried in ascending `order`; those of equal order share the
    calls by their `weight`."""

    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="deployments")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="deployments")
    provider_model = models.CharField(
        max_length=128, validators=[validate_model_name], help_text="The model's name at the provider."
    )
    protocol = models.CharField(max_length=32, choices=protocol_choices, default="openai_chat")
    region = models.CharField(max_length=63, null=True, blank=True, validators=[validate_slug])  # noqa: DJ001 - none is not ""
    order = models.PositiveSmallIntegerField(
        default=0, help_text="Which deployments of a model are tried first: those with the lowest number."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        help_text="Its part of the calls, among the deployments of the same order: with 3 and 1, three of four calls "
        "go to the first.",
    )
    longest_audio_s = models.PositiveIntegerField(
        "longest sound, in seconds",
        null=True,
        blank=True,
        validators=[MinValueValidator(SHORTEST_AUDIO_S), MaxValueValidator(LONGEST_AUDIO_S)],
        help_text="For transcriptions billed by the second: the provider refuses any longer sound. Under a hard budget "
        "this is held for files whose length their size does not bound (FLAC, M4A, Ogg, WebM); where it is empty, only "
        "WAV and MP3 are taken.",
    )
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["model__name", "order", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "provider", "provider_model", "protocol", "region"],
                name="deployment_unique",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(weight__range=(1, MAX_WEIGHT)),
                name="deployment_weight",
                violation_error_message=f"A weight is from 1 to {MAX_WEIGHT}.",
            ),
            models.CheckConstraint(
                condition=Q(longest_audio_s__range=(SHORTEST_AUDIO_S, LONGEST_AUDIO_S)),
                name="deployment_longest_audio",
                violation_error_message=f"The longest sound has {SHORTEST_AUDIO_S} to {LONGEST_AUDIO_S} seconds.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.provider}"

    def clean(self) -> None:
        check_deployment(self)

    @property
    def reference(self) -> str:
        """Its id in policy documents and in the ledger."""
        return str(self.pk)

    @property
    def current_price(self) -> Price | None:
        """The newest price that has come into effect, from prefetched rows where there are any."""
        now = timezone.now()
        return next((price for price in self.prices.all() if price.effective_from <= now), None)


class Price(models.Model):
    """A row of the price book: what a deployment charges from an instant on, in nano-USD per million tokens.

    `further` are the other rates of a `kong_plugins.llm.prices.Price`, as JSON has them. Rows are never changed; the
    newest row that has come into effect counts. `source` is manual, or the name and version of what it was taken from.
    """

    MANUAL: Final = "manual"
    COLUMNS: Final = (*PRICE_FIELDS, *OPTIONAL_PRICE_FIELDS)

    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="prices")
    input_nusd = models.BigIntegerField()
    cache_read_nusd = models.BigIntegerField()
    cache_write_nusd = models.BigIntegerField()
    output_nusd = models.BigIntegerField()
    cache_write_1h_nusd = models.BigIntegerField(null=True, blank=True)
    further = models.JSONField(default=dict, blank=True)
    effective_from = models.DateTimeField(default=timezone.now)
    source = models.CharField(max_length=63, default=MANUAL)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-effective_from", "-id"]
        indexes = [models.Index(fields=["deployment", "-effective_from", "-id"], name="price_by_effect")]
        constraints = [
            models.CheckConstraint(condition=Q(**{f"{name}__range": (0, MAX_PRICE_NUSD)}), name=f"price_{name}")
            for name in (*PRICE_FIELDS, *OPTIONAL_PRICE_FIELDS)
        ]

    def __str__(self) -> str:
        return f"{self.deployment} from {self.effective_from:%Y-%m-%d %H:%M}"

    @property
    def amounts(self) -> dict[str, Any]:
        """The rates, as JSON has those of a `kong_plugins.llm.prices.Price`; without those that it does not name."""
        columns = {name: getattr(self, name) for name in self.COLUMNS}
        named = {name: amount for name, amount in columns.items() if amount is not None}
        return {**named, **self.further}

    @property
    def version(self) -> str:
        """Its name in policy documents and in the ledger."""
        return str(self.pk)


class Discount(models.Model):
    """What is taken off the prices of an organization, of one provider or of one deployment, from an instant on.

    The narrowest that there is counts, and of those the newest that has come into effect; 0 % ends one. Rows are never
    changed.
    """

    organization = models.ForeignKey("teams.Organization", on_delete=models.PROTECT, related_name="discounts")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, null=True, blank=True, related_name="discounts")
    deployment = models.ForeignKey(
        Deployment, on_delete=models.PROTECT, null=True, blank=True, related_name="discounts"
    )
    percent = models.DecimalField(
        max_digits=5, decimal_places=2, validators=[MinValueValidator(0), MaxValueValidator(100)]
    )
    effective_from = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-effective_from", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(percent__range=(0, 100)), name="discount_percent"),
            models.CheckConstraint(
                condition=Q(provider=None) | Q(deployment=None),
                name="discount_scope",
                violation_error_message="A discount is on a provider or on a deployment, not on both.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.percent.normalize():f} % off {self.deployment or self.provider or 'everything'}"

    @property
    def basis_points(self) -> int:
        return int(self.percent * 100)

    @property
    def narrowness(self) -> int:
        """How narrow it is, beside others on the same deployment."""
        return 2 if self.deployment_id else 1 if self.provider_id else 0

    def concerns(self, deployment: Deployment) -> bool:
        """Whether it can be in force on a deployment of the same organization."""
        if self.deployment_id:
            return self.deployment_id == deployment.pk
        if self.provider_id:
            return self.provider_id == deployment.provider_id
        return True
