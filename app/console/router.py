"""All pages of the console."""

from __future__ import annotations

from app.console.assets import router as assets_router
from app.console.nowhere import router as nowhere_router
from app.console.overview import router as overview_router
from app.console.sign_in import router as sign_in_router

routers = (assets_router, sign_in_router, overview_router, nowhere_router)
