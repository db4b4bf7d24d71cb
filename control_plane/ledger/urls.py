"""The ledger's addresses under /api/v1/."""

from __future__ import annotations

from django.urls import path

from control_plane.ledger.views import EventsView, SpendView

urlpatterns = [
    path("spend", SpendView.as_view()),
    path("events", EventsView.as_view()),
]
