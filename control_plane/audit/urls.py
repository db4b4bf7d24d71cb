"""The address of the audit log under /api/v1/."""

from __future__ import annotations

from django.urls import path

from control_plane.audit.views import AuditView

urlpatterns = [path("audit", AuditView.as_view())]
