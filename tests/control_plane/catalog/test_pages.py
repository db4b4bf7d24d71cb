"""What a model degrades to in the admin, as Alice chooses it."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from control_plane.catalog.models import Model
from tests.control_plane.cast import Api, post, shown_errors

BOUNDS = {"context_window_tokens": "100", "max_output_tokens": "10", "default_output_tokens": "1"}


@pytest.fixture
def large(api: Api) -> str:
    """The page of a model that has two others beside it, of which medium degrades to it."""
    for name in ("large", "medium", "small"):
        api.model(name)
    api.change("models/medium", degrade_to=["large"])
    return f"/admin/catalog/model/{Model.objects.get(name='large').pk}/change/"


def chosen(*names: str, field: str = "degrade_to") -> dict[str, str]:
    """What is chosen first, second and so on; "" leaves a choice open."""
    return {f"{field}_{position}": name for position, name in enumerate(names)}


def test_models_are_chosen_in_an_order_and_gaps_are_closed(api: Api, pages: Client) -> None:
    for name in ("medium", "small"):
        api.model(name)

    fields = {"organization": str(api.organization.pk), "name": "large"} | BOUNDS
    post(pages, "/admin/catalog/model/add/", fields | chosen("small", "", "medium"))

    [model] = [model for model in api.policy().models if model.name == "large"]
    assert model.degrade_to == ("small", "medium")
    assert "small, medium" in pages.get("/admin/catalog/model/").content.decode()
    page = pages.get(f"/admin/catalog/model/{Model.objects.get(name='large').pk}/change/").content.decode()
    assert re.findall(r'<option value="(\w+)" selected', page)[-2:] == ["small", "medium"]


def test_models_that_are_as_good_are_chosen_beside_the_lesser_ones(api: Api, pages: Client, large: str) -> None:
    post(pages, large, BOUNDS | chosen("medium", field="fall_back_to") | chosen("small"))

    [model] = [model for model in api.policy().models if model.name == "large"]
    assert (model.fall_back_to, model.degrade_to) == (("medium",), ("small",))
    twice = chosen("small", field="fall_back_to") | chosen("small")
    assert "already falls back to small" in shown_errors(pages, large, BOUNDS | twice)


def test_a_model_is_not_offered_to_itself(pages: Client, large: str) -> None:
    page = pages.get(large).content.decode()

    assert '<option value="small"' in page
    assert '<option value="large"' not in page


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("large",), "Select a valid choice. large is not one of the available choices"),
        (("small", "small"), "Name each model once"),
        (("medium",), "These would degrade in a circle: large → medium → large."),
    ],
)
def test_a_choice_that_cannot_be_is_refused_beside_its_field(
    pages: Client, large: str, names: tuple[str, ...], complaint: str
) -> None:
    assert complaint in shown_errors(pages, large, BOUNDS | chosen(*names))
    assert Model.objects.get(name="large").degrade_to == []
