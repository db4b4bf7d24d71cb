"""What follows from a provider's vendor: where its deployments are, how they prove who pays, and what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.core.exceptions import ValidationError

from control_plane.catalog.protocols import protocol_choices
from kong_plugins.llm.vendors import CREDENTIAL_KINDS, VENDORS, Served, Vendor

if TYPE_CHECKING:
    from control_plane.catalog.models import Deployment, Provider

CREDENTIAL_TITLES: Final = {
    "api_key": "API key",
    "none": "None",
    "aws_sigv4": "AWS access key (Signature Version 4)",
    "google_service_account": "Google service account",
    "entra_client": "Microsoft Entra application",
}


def vendor_choices() -> list[tuple[str, str]]:
    """The vendors, for a choice; a function, so that a new one needs no migration."""
    return [(name, vendor.title) for name, vendor in VENDORS.items()]


def credential_choices() -> list[tuple[str, str]]:
    """The kinds of credentials, for a choice."""
    return [(kind, CREDENTIAL_TITLES[kind]) for kind in CREDENTIAL_KINDS]


def vendor_of(provider: Provider) -> Vendor:
    return VENDORS[provider.vendor]


def base_url_of(deployment: Deployment) -> str:
    """The address that gateways call for a deployment, with its region where the address names it."""
    provider = deployment.provider
    served = vendor_of(provider).serves(deployment.protocol)
    address = provider.base_url or (served.base_url if served else "")
    return address.replace("{region}", deployment.region or "")


def authentication_of(deployment: Deployment) -> str | None:
    """How a deployment's calls present the provider's credential, as gateways read it."""
    provider = deployment.provider
    return vendor_of(provider).authentication(deployment.protocol, provider.authentication)


def check_provider(provider: Provider) -> None:
    """Refuse a provider that its vendor could not be, or that could not serve the deployments that it has; what is none
    of the choices is refused elsewhere.

    Raises:
        ValidationError: by field.
    """
    if provider.vendor not in VENDORS:
        return
    vendor = vendor_of(provider)
    if provider.authentication not in vendor.credentials:
        known = ", ".join(CREDENTIAL_TITLES[kind] for kind in vendor.credentials)
        raise ValidationError({"authentication": f"{vendor.title} takes another kind of credential: {known}."})
    if not provider.base_url and all(served.is_example for served in _all_served(vendor)):
        raise ValidationError({"base_url": f"{vendor.title} is at an address of your own, {_examples(vendor)}."})
    if provider.pk is not None:
        for deployment in provider.deployments.select_related("model"):
            deployment.provider = provider
            try:
                check_deployment(deployment)
            except ValidationError as error:
                raise ValidationError(f"The deployment {deployment}: {' '.join(error.messages)}") from error


def check_deployment(deployment: Deployment) -> None:
    """Refuse a deployment that its provider's vendor does not serve, or whose address is not whole.

    Raises:
        ValidationError: by field.
    """
    if deployment.provider_id is None:
        return
    provider = deployment.provider
    vendor = vendor_of(provider)
    served = vendor.serves(deployment.protocol)
    if served is None:
        known = ", ".join(title for name, title in protocol_choices() if vendor.serves(name))
        raise ValidationError({"protocol": f"{vendor.title} does not speak this wire format, but {known}."})
    if not provider.base_url and served.is_example:
        message = f"Give the provider a base URL: {vendor.title} is at one of your own, such as {served.base_url}."
        raise ValidationError({"provider": message})
    address = provider.base_url or served.base_url
    if not deployment.region and ("{region}" in address or provider.authentication == "aws_sigv4"):
        raise ValidationError({"region": f"{vendor.title} needs the region, such as eu-central-1."})


def _all_served(vendor: Vendor) -> tuple[Served, ...]:
    return (*vendor.formats.values(), *filter(None, [vendor.otherwise]))


def _examples(vendor: Vendor) -> str:
    return "such as " + " or ".join(dict.fromkeys(served.base_url for served in _all_served(vendor)))
