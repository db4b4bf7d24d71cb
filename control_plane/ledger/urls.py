"""The ledger's addresses under /api/v1/."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from control_plane.ledger.state_views import BooksView, DeadLetterViewSet
from control_plane.ledger.views import EventsView, RefusalsView, ShadowRefusalsView, SpendView

router = SimpleRouter(trailing_slash=False)
router.register("dead-letters", DeadLetterViewSet)

urlpatterns = [
    path("spend", SpendView.as_view()),
    path("refusals", RefusalsView.as_view()),
    path("shadow-refusals", ShadowRefusalsView.as_view()),
    path("events", EventsView.as_view()),
    path("books", BooksView.as_view()),
    *router.urls,
]
