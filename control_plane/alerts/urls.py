"""The addresses of alerts under /api/v1/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from control_plane.alerts.views import WebhookViewSet

router = SimpleRouter(trailing_slash=False)
router.register("webhooks", WebhookViewSet)

urlpatterns = router.urls
