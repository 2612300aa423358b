"""Runs an ASGI app under uvicorn, so that a stop is a clean end with exit code 0, a failed start is explained, and slow senders
are left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from app.cli.bounded_protocol import SENDERS_MAX, BoundedProtocol, Senders
from app.cli.room import room
from app.errors import GatewayError, SettingsError
from app.problems import too_many_connections
from app.request_log import RequestLog

CONNECTIONS_MAX = 8000  #: at once; 503 beyond
CONNECTIONS_BESIDE = 50  #: the same, of a server beside other work
UNACKNOWLEDGED_MS = 60_000  #: how long sent bytes may stay unacknowledged
DRAIN_SECONDS = 8  #: how long a stop waits for open requests; what was sent has this time too, and 12 s more


def run_server(app: FastAPI, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains and returns. `ready` is told the address once requests are taken.

    Raises whatever the app's start raised.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)  # uvicorn raises what it caught again at its end; that must not kill us
    listener = _listen(host, port)
    keeper = _StartErrorKeeper(app)
    config = _config(app, room(CONNECTIONS_MAX, at_least=CONNECTIONS_BESIDE), timeout_graceful_shutdown=DRAIN_SECONDS)
    server = _Server(config, lambda: ready(_address(listener)), lambda: app.state.let_go())  # noqa: PLW0108 - set by the start
    with contextlib.closing(listener):
        try:
            server.run(sockets=[listener])
        except SystemExit:  # uvicorn's own way to end a failed start
            if keeper.error is None:
                raise
    if keeper.error is not None:
        raise keeper.error


@contextlib.asynccontextmanager
async def serving_beside(app: FastAPI, *, host: str, port: int) -> AsyncIterator[str]:
    """Serves a few small requests while the block runs, in a process that is there for something else; yields the address.

    Raises:
        SettingsError: the port cannot be had.
        Exception: whatever the server's start raised.
    """
    ready, keeper = asyncio.Event(), _StartErrorKeeper(app)
    server = _ServerBeside(_config(app, CONNECTIONS_BESIDE, timeout_graceful_shutdown=1), ready.set, lambda: None)
    with contextlib.closing(_listen(host, port)) as listener:
        serving = asyncio.create_task(_served(server, listener, keeper))
        serving.add_done_callback(lambda _: ready.set())  # one that has failed is waited for no longer
        try:
            await ready.wait()
            if not serving.done():
                yield _address(listener)
        finally:
            server.should_exit = True
            await serving


async def _served(server: uvicorn.Server, listener: socket.socket, keeper: _StartErrorKeeper) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit:  # as above; within a task it would end the loop, whatever else runs there
        raise keeper.error or RuntimeError("the server did not start") from None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready, self._on_stop = on_ready, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # what is here stays: collecting it over and over costs tail latency
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()  # those who wait for a job get it as it is; the drain must not wait for them
        await super().shutdown(sockets=sockets)


class _ServerBeside(_Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _config(app: FastAPI, connections: int, *, timeout_graceful_shutdown: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        **_bounds(connections),
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=timeout_graceful_shutdown,
        server_header=False,
        date_header=False,
        lifespan="on",
    )


def _bounds(connections: int) -> dict[str, Any]:
    senders = Senders(min(SENDERS_MAX, connections // 2))  # the other half is for requests that have come
    return {"http": partial(BoundedProtocol, senders=senders, connections_max=connections, crowded=RequestLog(_crowded))}


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    await too_many_connections(Request(scope))(scope, receive, send)


class _StartErrorKeeper:
    """uvicorn logs an error of the lifespan and goes on to exit; the command line wants to explain it instead."""

    def __init__(self, app: FastAPI) -> None:
        self.error: Exception | None = None
        lifespan = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def kept(scope: Any) -> AsyncIterator[Any]:
            try:
                async with lifespan(scope) as state:
                    yield state
            except Exception as error:
                self.error = error
                # What the gateway can explain is told in one line at the end, not in uvicorn's pages of trace before it.
                logging.getLogger("uvicorn.error").disabled = isinstance(error, GatewayError)
                raise

        app.router.lifespan_context = kept


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it: what a dead client never acknowledges is dropped
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _ignore(_number: int, _frame: object) -> None:
    return None
