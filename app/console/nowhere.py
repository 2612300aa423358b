"""What is not a page."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.console.page import PageRoute
from app.console.visitor import Visitor
from app.problems import not_found

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)


@router.get("/{path:path}")
async def show_nothing(path: str, caller: Visitor) -> Response:
    """Comes after all pages, and says so as they do."""
    raise not_found("page")
