"""The addresses of releases under /api/v1/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from control_plane.releases.views import ReleaseViewSet

router = SimpleRouter(trailing_slash=False)
router.register("releases", ReleaseViewSet)

urlpatterns = router.urls
