"""What is not a page."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.console.page import PageRoute, go_to
from app.console.visitor import Visitor
from app.problems import not_found

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)


@router.get("/{path:path}")
async def show_nothing(request: Request, path: str, caller: Visitor) -> Response:
    """Comes after all pages, and says so as they do."""
    if not path:
        return go_to(request, "/console")  # with a slash at the end it is the first page as well
    raise not_found("page")
