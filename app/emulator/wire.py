"""Puts an ``Answer`` on the wire, broken off or held back where it says so."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.emulator.answer import Answer


class BrokenOffResponse(Response):
    """Promises more bytes than it sends, then leaves: the server closes the connection inside the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and half of the body, and no end."""
        body = bytes(self.body)
        promised = str(len(body) + 64).encode()
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        headers.append((b"content-length", promised))
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


async def response_to(answer: Answer, request: Request) -> Response:
    """The response for an answer, after the time it is held back or as soon as the client has left."""
    if answer.delay:
        await _client_left(request, answer.delay)
    kind = BrokenOffResponse if answer.lost == "truncated" else Response
    return kind(answer.body, answer.status, dict(answer.headers))


async def _client_left(request: Request, seconds: float) -> None:
    """Return when the client disconnects, or after so many seconds."""
    try:
        await asyncio.wait_for(_disconnect(request), seconds)
    except TimeoutError:
        return


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
