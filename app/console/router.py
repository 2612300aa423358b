"""All pages of the console."""

from __future__ import annotations

from app.console.assets import router as assets_router
from app.console.audit import router as audit_router
from app.console.deliveries import router as deliveries_router
from app.console.job import router as job_router
from app.console.jobs import router as jobs_router
from app.console.keys import router as keys_router
from app.console.nowhere import router as nowhere_router
from app.console.operations import router as operations_router
from app.console.overview import router as overview_router
from app.console.sign_in import router as sign_in_router
from app.console.tenants import router as tenants_router

routers = (
    assets_router,
    sign_in_router,
    overview_router,
    jobs_router,
    job_router,
    deliveries_router,
    tenants_router,
    keys_router,
    audit_router,
    operations_router,
    nowhere_router,
)
