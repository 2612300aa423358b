"""The app: every route on an open gateway. Imported by nothing but the command line and the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from app import __version__, health, openapi, problems
from app.access.keys import router as keys_router
from app.access.tenants import router as tenants_router
from app.audit.router import router as audit_router
from app.callbacks.router import router as callbacks_router
from app.config import Settings
from app.console.router import routers as console_routers
from app.deliveries.operators import router as receivers_router
from app.deliveries.router import router as deliveries_router
from app.dispatch.router import router as dispatch_router
from app.drop_in.router import router as drop_in_router
from app.gateway import Gateway, Seams
from app.images.router import router as images_router
from app.jobs.batch import router as batch_router
from app.jobs.doubtful_task import router as doubtful_task_router
from app.jobs.export import router as export_router
from app.jobs.listing import router as listing_router
from app.jobs.quote import router as quote_router
from app.jobs.router import accept_router
from app.jobs.router import router as jobs_router
from app.jobs.timeline import router as timeline_router
from app.opening import open_gateway
from app.operations.router import router as operations_router
from app.request_log import RequestLog
from app.stats.router import router as stats_router
from app.stats.scrape import router as metrics_router
from app.usage.router import router as usage_router

#: Their order matters where one path could be taken for another: /jobs/export before /jobs/{job_id}. First is what comes most.
ROUTERS = (
    accept_router, callbacks_router, batch_router, quote_router, export_router, listing_router, timeline_router,
    jobs_router, images_router, usage_router, deliveries_router, dispatch_router, drop_in_router, keys_router,
    tenants_router, receivers_router, operations_router, doubtful_task_router, audit_router, stats_router, metrics_router,
    health.router, *console_routers,
)  # fmt: skip

#: FastAPI's own spans and logs hold raw paths, and a callback's path holds its token; `app.traces` makes ours.
_NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)


class AppState(TypedDict):
    gateway: Gateway


def create_app(settings: Settings, *, with_duties: bool = True, seams: Seams = Seams()) -> FastAPI:
    """The gateway as an ASGI app; it opens and closes with the app's lifespan.

    Args:
        with_duties: also dispatch, check and settle in this process; without, only the API is served.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[AppState]:
        async with open_gateway(settings, with_duties=with_duties, seams=seams) as gateway:
            app.state.first_key, app.state.let_go = gateway.first_key, gateway.let_go
            yield {"gateway": gateway}

    app = FastAPI(
        title="Qwen-Image job gateway",
        version=__version__,
        summary="Accepts image jobs, forwards them to a paid asynchronous API, and always knows what became of them.",
        lifespan=lifespan,
        strict_content_type=False,
        generate_unique_id_function=openapi.operation_id,
        telemetry=_NO_TELEMETRY,
    )
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(RequestLog)
    openapi.install(app)
    return app


def monitor_app(gateway: Gateway) -> FastAPI:
    """What a process without the API serves all the same, of a gateway that is open: `/healthz`, `/readyz` and `/metrics`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[AppState]:
        yield {"gateway": gateway}

    app = FastAPI(lifespan=lifespan, openapi_url=None, telemetry=_NO_TELEMETRY)
    problems.install(app)
    for router in (health.router, metrics_router):
        app.include_router(router)
    app.add_middleware(RequestLog)
    return app
