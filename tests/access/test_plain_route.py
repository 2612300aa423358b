"""Routes without FastAPI's resolver take only what they can do without it."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, Depends, Request, Response

from app.plain_route import PlainRoute


async def refuse(request: Request) -> None:
    raise PermissionError(request.url.path)


def test_a_dependency_that_no_parameter_names_is_not_passed_over() -> None:
    router = APIRouter(route_class=PlainRoute)
    with pytest.raises(AssertionError, match="show"):

        @router.get("/", dependencies=[Depends(refuse)])
        async def show(request: Request) -> Response:
            return Response()
