"""Routes that every caller comes by again and again, without FastAPI's resolver of dependencies in their way."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class PlainRoute(APIRoute):
    """A route whose dependencies ask for nothing but the request: they are called with it, in the order that they stand in.

    The resolver would cost as much as all else that is done for such a request. The endpoint is documented as any other; its
    path parameters are strings, and it answers with a `Response`. One that takes more than this is left to FastAPI.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        wants, endpoint = self.dependant, self.endpoint
        if wants.query_params or wants.header_params or wants.cookie_params or wants.body_params:
            return super().get_route_handler()
        assert wants.request_param_name == "request", f"{endpoint.__name__} asks for no request"
        needs = [(need.name, need.call) for need in wants.dependencies if need.name and need.call]
        assert len(needs) == len(wants.dependencies), f"{endpoint.__name__} depends on what no parameter of it names"

        async def handle(request: Request) -> Response:
            found = {name: await call(request) for name, call in needs}
            answer: Response = await endpoint(request=request, **request.path_params, **found)
            return answer

        return handle
