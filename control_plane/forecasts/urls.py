"""The addresses of forecasts under /api/v1/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from control_plane.forecasts.views import ForecastViewSet

router = SimpleRouter(trailing_slash=False)
router.register("forecasts", ForecastViewSet)

urlpatterns = router.urls
