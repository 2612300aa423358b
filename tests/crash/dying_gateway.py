"""`gateway serve`, except that the process may kill itself while it talks to the upstream. Run as a module, by the tests.

DIE_AT names the point, DIE_AFTER how often it is passed unharmed before; SUBMIT_SECONDS shortens the wait for an answer.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx

from app import log
from app.cli.server import run_server
from app.config import Settings
from app.gateway import Seams
from app.lifecycle.policy import Policy
from app.main import create_app
from app.upstream.client import SUBMIT_IDLE, Timeouts, _transport

POINTS = ("before-send", "before-answer", "before-record", "before-check")


class DyingTransport(httpx.AsyncBaseTransport):
    """The client's own transport, and a SIGKILL at one point of one exchange: nothing is flushed, closed or said."""

    def __init__(self, point: str, after: int) -> None:
        assert point in POINTS
        self._inner, self._point, self._left = _transport(SUBMIT_IDLE), point, after

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_submit = request.method == "POST"
        self._pass("before-send" if is_submit else "before-check")
        response = await self._inner.handle_async_request(request)
        if not is_submit:
            return response
        self._pass("before-answer")
        assert isinstance(response.stream, httpx.AsyncByteStream)
        stream = _Followed(response.stream, self)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream, extensions=response.extensions)

    def answered(self) -> None:
        self._pass("before-record")

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _pass(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Followed(httpx.AsyncByteStream):
    """Says when the last byte was read."""

    def __init__(self, inner: httpx.AsyncByteStream, transport: DyingTransport) -> None:
        self._inner, self._transport = inner, transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk
        self._transport.answered()

    async def aclose(self) -> None:
        await self._inner.aclose()


class ImpatientSettings(Settings):
    """A check that died with its process is repeated soon, not after half a minute."""

    def policy(self) -> Policy:
        return replace(super().policy(), check_lease=timedelta(seconds=2))


def main() -> None:
    settings = ImpatientSettings()
    log.configure(settings.log_format)
    point = os.environ.get("DIE_AT")
    seams = Seams(
        upstream_transport=DyingTransport(point, int(os.environ.get("DIE_AFTER", "0"))) if point else None,
        timeouts=Timeouts(submit=timedelta(seconds=float(os.environ.get("SUBMIT_SECONDS", "30")))),
    )
    run_server(
        create_app(settings, seams=seams),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        ready=lambda url: print(f"ready at {url}", file=sys.stderr, flush=True),
    )


if __name__ == "__main__":
    main()
