"""The catalogue, and what gateways learn of it: models, deployments, prices, sealed credentials."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from control_plane.catalog.models import Deployment as DeploymentRow
from control_plane.catalog.models import Price as PriceRow
from control_plane.catalog.models import Provider
from control_plane.catalog.price_book import set_price
from control_plane.catalog.services import change_deployment
from kong_plugins.llm.credentials import open_credential
from kong_plugins.llm.prices import Price
from kong_plugins.llm.release import Deployment, Model
from tests.control_plane.cast import PRICE, Api, all_at_once

DEARER: dict[str, Any] = {"input_nusd": 2, "cache_read_nusd": 1, "cache_write_nusd": 2, "output_nusd": 8}


def current_price(api: Api) -> Price:
    [deployment] = api.policy().deployments
    assert deployment.price is not None
    return deployment.price


def test_a_deployment_is_in_the_policy_when_its_creation_answers(api: Api) -> None:
    created = api.deployment(region="eu-central-1")

    policy = api.policy()
    [price] = PriceRow.objects.all()
    assert policy.models == (
        Model(
            name="gpt-4o-mini",
            context_window_tokens=128_000,
            max_output_tokens=16_384,
            default_output_tokens=1_024,
            deployments=(str(created["id"]),),
        ),
    )
    assert policy.deployments == (
        Deployment(
            id=str(created["id"]),
            provider="openai",
            vendor="custom",
            protocol="openai_chat",
            base_url="https://api.example.com/v1",
            provider_model="gpt-4o-mini",
            credential=f"{api.organization.slug}/openai",
            region="eu-central-1",
            price=Price(
                version=str(price.pk),
                input_nusd=150_000_000,
                cache_read_nusd=75_000_000,
                cache_write_nusd=150_000_000,
                output_nusd=600_000_000,
            ),
        ),
    )
    assert created["price"] == PRICE | {"cache_write_1h_usd_per_mtok": None}


def test_an_hour_in_the_cache_can_have_a_price_of_its_own_and_lose_it_again(api: Api) -> None:
    deployment = api.deployment(protocol="anthropic_messages", price=PRICE | {"cache_write_1h_usd_per_mtok": "0.30"})
    path = f"deployments/{deployment['id']}"

    assert deployment["price"]["cache_write_1h_usd_per_mtok"] == "0.30"
    assert api.policy().deployments[0].protocol == "anthropic_messages"
    first = current_price(api)
    assert first.cache_write_1h_nusd == 300_000_000
    api.change(path, price={"output_usd_per_mtok": "0.60"})
    assert current_price(api) == first
    api.change(path, price={"cache_write_1h_usd_per_mtok": None})
    assert current_price(api).cache_write_1h_nusd is None
    assert current_price(api).version != first.version


def test_a_credential_is_sealed_in_rows_and_policy_and_never_shown(api: Api) -> None:
    answer = api.provider()

    [(credential_id, sealed)] = api.policy().credentials.items()
    assert "credential" not in answer
    assert "sk-provider" not in str(Provider.objects.values())
    assert open_credential(sealed, credential_id=credential_id, credential_key=settings.CREDENTIAL_KEY) == "sk-provider"


def test_a_new_credential_replaces_the_old_one_and_another_change_keeps_it(api: Api) -> None:
    api.provider()
    api.change("providers/openai", credential="sk-rotated")
    rotated = api.policy().credentials

    api.change("providers/openai", base_url="https://eu.api.example.com/v1")

    [(credential_id, sealed)] = rotated.items()
    assert open_credential(sealed, credential_id=credential_id, credential_key=settings.CREDENTIAL_KEY) == "sk-rotated"
    assert api.policy().credentials == rotated


def test_one_model_at_one_provider_is_deployed_once_in_each_wire_format(api: Api) -> None:
    chat = api.deployment()["id"]
    messages = api.create(
        "deployments",
        model="gpt-4o-mini",
        provider="openai",
        provider_model="gpt-4o-mini",
        protocol="anthropic_messages",
        price=None,
    )

    assert {each.protocol for each in api.policy().deployments} == {"openai_chat", "anthropic_messages"}
    [found] = api.get("deployments?model=gpt-4o-mini&protocol=anthropic_messages")["results"]
    assert (found["id"], found["id"] != chat) == (messages["id"], True)


def test_deployments_are_tried_in_their_order_and_an_inactive_one_not_at_all(api: Api) -> None:
    last = api.deployment(order=2)["id"]
    api.provider("azure")
    first = api.create("deployments", model="gpt-4o-mini", provider="azure", provider_model="mini", order=1, price=None)
    idle = api.create("deployments", model="gpt-4o-mini", provider="azure", provider_model="idle", price=None)

    api.change(f"deployments/{idle['id']}", active=False)

    assert api.policy().models[0].deployments == (str(first["id"]), str(last))


def test_the_longest_sound_that_a_provider_takes_is_part_of_the_policy(api: Api) -> None:
    created = api.deployment(protocol="openai_transcriptions")
    assert (created["longest_audio_s"], api.policy().deployments[0].longest_audio_s) == (None, None)

    api.change(f"deployments/{created['id']}", longest_audio_s=7200)

    assert api.policy().deployments[0].longest_audio_s == 7200
    for seconds in (9, 86_401):
        with pytest.raises(ValidationError):
            change_deployment(created["id"], actor="alice", longest_audio_s=seconds)
        assert api.refused_fields("PATCH", f"deployments/{created['id']}", {"longest_audio_s": seconds}) == {
            "longest_audio_s"
        }


def test_a_new_price_is_a_new_row_and_an_equal_one_is_none(api: Api) -> None:
    deployment_id = api.deployment()["id"]
    before = current_price(api)

    api.change(f"deployments/{deployment_id}", price=PRICE)
    assert current_price(api) == before
    api.change(f"deployments/{deployment_id}", price={"output_usd_per_mtok": "1.20"})

    after = current_price(api)
    assert (after.output_nusd, after.input_nusd) == (1_200_000_000, before.input_nusd)
    assert after.version != before.version
    assert PriceRow.objects.count() == 2


def test_a_price_cannot_be_taken_away(api: Api) -> None:
    deployment_id = api.deployment()["id"]

    assert api.refused_fields("PATCH", f"deployments/{deployment_id}", {"price": None}) == {"price"}


def test_a_first_price_names_every_kind_of_token(api: Api) -> None:
    deployment_id = api.deployment(price=None)["id"]

    assert api.refused_fields("PATCH", f"deployments/{deployment_id}", {"price": {"output_usd_per_mtok": "1"}}) == {
        "price"
    }
    assert api.policy().deployments[0].price is None


def test_prices_set_at_the_same_moment_leave_one_in_force_that_is_the_newest_row(api: Api) -> None:
    deployment_id = api.deployment()["id"]

    all_at_once([partial(set_price, deployment_id, DEARER | {"output_nusd": n}, actor="alice") for n in range(6)])

    newest = PriceRow.objects.first()
    assert newest is not None
    assert current_price(api).version == newest.version


def test_the_database_itself_refuses_what_cannot_be(api: Api) -> None:
    deployment = DeploymentRow.objects.get(pk=api.deployment()["id"])

    for bad in ({"output_nusd": -1}, {"input_nusd": 10**18 + 1}):
        with pytest.raises(IntegrityError), transaction.atomic():
            PriceRow.objects.create(deployment=deployment, created_by="alice", **(DEARER | bad))
    with pytest.raises(ValidationError):
        set_price(deployment.pk, DEARER | {"output_nusd": -1}, actor="alice")


def test_a_models_name_may_have_slashes_and_dots(api: Api) -> None:
    api.model("meta-llama/Llama-3.1-8B")

    assert api.get("models/meta-llama/Llama-3.1-8B")["name"] == "meta-llama/Llama-3.1-8B"
    api.change("models/meta-llama/Llama-3.1-8B", default_output_tokens=512)
    assert api.policy().models[0].default_output_tokens == 512


def degrade_to(api: Api) -> dict[str, tuple[str, ...]]:
    return {model.name: model.degrade_to for model in api.policy().models}


def test_what_a_model_degrades_to_is_in_the_policy_in_its_order(api: Api) -> None:
    for name in ("small", "medium"):
        api.model(name)
    created = api.create(
        "models",
        name="large",
        context_window_tokens=100,
        max_output_tokens=10,
        default_output_tokens=1,
        degrade_to=["small", "medium"],
    )
    assert created["degrade_to"] == ["small", "medium"]
    assert degrade_to(api) == {"small": (), "medium": (), "large": ("small", "medium")}

    api.change("models/large", degrade_to=["medium", "small"])
    assert degrade_to(api)["large"] == ("medium", "small")
    api.change("models/large", degrade_to=[])
    assert degrade_to(api)["large"] == ()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["large"], "itself"),
        (["unknown"], "Unknown models: unknown"),
        (["small", "small"], "once"),
        (["small"], "in a circle: large → small → medium → large"),
        (["other"] * 6, "no more than 5"),
    ],
)
def test_a_model_degrades_only_to_others_and_never_back_to_itself(api: Api, names: list[str], complaint: str) -> None:
    for name in ("large", "medium", "small", "other"):
        api.model(name)
    api.change("models/medium", degrade_to=["large"])
    api.change("models/small", degrade_to=["other", "medium"])

    answer = api.call("PATCH", "models/large", {"degrade_to": names})

    [error] = answer.json()["errors"]
    assert error["field"] == "degrade_to"
    assert complaint in error["message"]
    assert degrade_to(api)["large"] == ()


def test_what_a_model_falls_back_to_is_in_the_policy_and_may_lead_back(api: Api) -> None:
    for name in ("large", "twin", "small"):
        api.model(name)
    api.change("models/twin", fall_back_to=["large"])

    changed = api.change("models/large", fall_back_to=["twin"], degrade_to=["small"])

    assert changed["fall_back_to"] == ["twin"]
    found = {model.name: (model.fall_back_to, model.degrade_to) for model in api.policy().models}
    assert found == {"large": (("twin",), ("small",)), "twin": (("large",), ()), "small": ((), ())}


@pytest.mark.parametrize(
    ("body", "field", "complaint"),
    [
        ({"fall_back_to": ["large"]}, "fall_back_to", "A model cannot fall back to itself."),
        ({"fall_back_to": ["unknown"]}, "fall_back_to", "Unknown models: unknown."),
        ({"fall_back_to": ["small", "small"]}, "fall_back_to", "Name each model once."),
        ({"fall_back_to": ["small"]}, "degrade_to", "The model already falls back to small: name each once."),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_model_falls_back_only_to_others_that_it_does_not_degrade_to(
    api: Api, body: dict[str, list[str]], field: str, complaint: str
) -> None:
    for name in ("large", "small"):
        api.model(name)
    api.change("models/large", degrade_to=["small"])

    answer = api.call("PATCH", "models/large", body)

    [error] = answer.json()["errors"]
    assert (error["field"], error["message"]) == (field, complaint)


def test_deployments_of_equal_order_share_the_calls_by_their_weights(api: Api) -> None:
    deployment_id = api.deployment(order=1, weight=3)["id"]
    [deployment] = api.policy().deployments
    assert (deployment.order, deployment.weight) == (1, 3)

    for weight in (0, 1001, -1, "3", None):
        assert api.refused_fields("PATCH", f"deployments/{deployment_id}", {"weight": weight}) == {"weight"}


def test_changes_at_the_same_moment_never_close_a_circle(api: Api) -> None:
    names = [f"model-{number}" for number in range(4)]
    for name in names:
        api.model(name)

    answers = all_at_once(
        [
            partial(api.call, "PATCH", f"models/{name}", {"degrade_to": [names[number - 1]]})
            for number, name in enumerate(names)
        ]
    )

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 400]
    assert sorted(len(others) for others in degrade_to(api).values()) == [0, 1, 1, 1]
