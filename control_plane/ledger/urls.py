"""The ledger's addresses under /api/v1/."""

from __future__ import annotations

from django.urls import path

from control_plane.ledger.views import EventsView, RefusalsView, ShadowRefusalsView, SpendView

urlpatterns = [
    path("spend", SpendView.as_view()),
    path("refusals", RefusalsView.as_view()),
    path("shadow-refusals", ShadowRefusalsView.as_view()),
    path("events", EventsView.as_view()),
]
