"""The emulator as an ASGI application: the document's two endpoints, the pictures, and the control endpoints."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.emulator.answer import enveloped
from app.emulator.control import Control
from app.emulator.courier import Courier
from app.emulator.options import EmulatorOptions
from app.emulator.painting import MEDIA_TYPES, paint
from app.emulator.under_way import UnderWay
from app.emulator.wire import response_to
from app.emulator.world import World

#: Longest wait of a submit's answer for its task's callback, in seconds (fault ``callback-before-answer``).
HOLD_SECONDS = 5.0

#: Pictures drawn at once.
PAINTERS = 2


def create_emulator(options: EmulatorOptions | None = None) -> Starlette:
    """An emulator; callbacks are sent between its lifespan's start and end. ``app.state.world`` is its ``World``."""
    world = World(options or EmulatorOptions(), time.time)
    courier = Courier(world, time.time)
    api = _Api(world, courier)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with courier.at_work():
            yield

    app = Starlette(
        routes=[*api.routes(), *Control(world, courier, api.under_way).routes()],
        exception_handlers={HTTPException: _enveloped_http_error, Exception: _enveloped_crash},
        lifespan=lifespan,
    )
    app.state.world = world
    return app


class _Api:
    """The endpoints which the document describes, and the pictures' addresses."""

    def __init__(self, world: World, courier: Courier) -> None:
        self._world = world
        self._courier = courier
        self._painters = asyncio.Semaphore(PAINTERS)
        self.under_way = UnderWay()

    def routes(self) -> list[Route]:
        return [
            Route("/api/generate", self.generate, methods=["POST"]),
            Route("/api/status", self.status, methods=["GET"]),
            Route("/images/{name}", self.image, methods=["GET"]),
        ]

    async def generate(self, request: Request) -> Response:
        body = await request.body()
        with self.under_way.one_more(request.client.port if request.client else None, body):
            answer = self._world.submit(request.headers.get("authorization"), body, _base_url(request))
            self._courier.wake()
            if answer.held_for is not None:
                await self._courier.first_answer(answer.held_for, HOLD_SECONDS)
            return await response_to(answer, request)

    async def status(self, request: Request) -> Response:
        answer = self._world.status(request.headers.get("authorization"), request.query_params.get("task_id"))
        return await response_to(answer, request)

    async def image(self, request: Request) -> Response:
        motif = self._world.picture(request.path_params["name"])
        if motif is None:
            return await response_to(enveloped(404, "Not Found: no such picture."), request)
        async with self._painters:
            picture = await asyncio.to_thread(paint, motif)
        return Response(picture, media_type=MEDIA_TYPES[motif.output_format])


def _base_url(request: Request) -> str:
    host = request.headers.get("host") or "emulator"
    return f"{request.scope['scheme']}://{host}"


async def _enveloped_http_error(request: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    return await response_to(enveloped(status, detail, **_headers(error)), request)


async def _enveloped_crash(request: Request, _error: Exception) -> Response:
    return await response_to(enveloped(500, "Internal Server Error"), request)


def _headers(error: Exception) -> dict[str, str]:
    return dict(getattr(error, "headers", None) or {})
