"""Every address of the control plane."""

from __future__ import annotations

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView, SpectacularYAMLAPIView
from rest_framework.routers import SimpleRouter

from control_plane.api.token_views import TokenViewSet
from control_plane.api.views import HealthView, LivenessView, NoSuchAddressView
from control_plane.budgets.request_views import ExtensionRequestViewSet
from control_plane.budgets.views import BudgetViewSet, ExtensionViewSet, LimitViewSet
from control_plane.catalog.price_import_view import PriceImportView
from control_plane.catalog.views import DeploymentViewSet, DiscountViewSet, ModelViewSet, PriceViewSet, ProviderViewSet
from control_plane.dashboard.exports import home_table
from control_plane.identity.api_views import GroupMappingViewSet
from control_plane.keys.views import KeyViewSet
from control_plane.routing.views import AliasViewSet
from control_plane.teams.views import (
    DepartmentViewSet,
    MembershipViewSet,
    OrganizationsView,
    OrganizationView,
    PersonViewSet,
    TeamViewSet,
)

router = SimpleRouter(trailing_slash=False)
router.register("tokens", TokenViewSet)
router.register("departments", DepartmentViewSet)
router.register("memberships", MembershipViewSet)
router.register("group-mappings", GroupMappingViewSet)
router.register("people", PersonViewSet)
router.register("teams", TeamViewSet)
router.register("providers", ProviderViewSet)
router.register("models", ModelViewSet)
router.register("deployments", DeploymentViewSet)
router.register("prices", PriceViewSet)
router.register("discounts", DiscountViewSet)
router.register("aliases", AliasViewSet)
router.register("keys", KeyViewSet)
router.register("budgets", BudgetViewSet)
router.register(r"budgets/(?P<budget_id>\d{1,18})/extensions", ExtensionViewSet)
router.register("extension-requests", ExtensionRequestViewSet)
router.register("limits", LimitViewSet)

# The page of drf-spectacular styles itself in place, and Swagger UI its parts; neither needs a script of its own there.
_docs = csp_update({"style-src": [SELF, UNSAFE_INLINE]})

admin.site.index_title = "Overview"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/exports/<str:page>/<str:table>.csv", admin.site.admin_view(home_table), name="home-table"),
    # Before the admin's own pages, of which they replace the log-in.
    path("admin/", include("control_plane.identity.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/health", HealthView.as_view()),
    path("api/v1/health/live", LivenessView.as_view()),
    path("api/v1/schema", SpectacularYAMLAPIView.as_view(), name="schema"),
    path("api/v1/docs", _docs(SpectacularSwaggerSplitView.as_view(url_name="schema"))),
    path("api/v1/organization", OrganizationView.as_view({"get": "retrieve", "patch": "partial_update"})),
    path("api/v1/organizations", OrganizationsView.as_view()),
    path("api/v1/prices/import", PriceImportView.as_view()),
    path("api/v1/", include(router.urls)),
    path("api/v1/", include("control_plane.ledger.urls")),
    path("api/v1/", include("control_plane.forecasts.urls")),
    path("api/v1/", include("control_plane.alerts.urls")),
    path("api/v1/", include("control_plane.audit.urls")),
    path("api/v1/", include("control_plane.releases.urls")),
    re_path("^api/v1/", NoSuchAddressView.as_view()),
    path("scim/v2/", include("control_plane.identity.scim.urls")),
]
