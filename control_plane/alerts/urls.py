"""The addresses of alerts under /api/v1/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from control_plane.alerts.views import DeliveryViewSet, WebhookViewSet

router = SimpleRouter(trailing_slash=False)
router.register("webhooks", WebhookViewSet)
router.register("deliveries", DeliveryViewSet)

urlpatterns = router.urls
