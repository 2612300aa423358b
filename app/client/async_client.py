"""The gateway for programs with asyncio."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from app.client.address import header_value
from app.client.calls import Calls
from app.client.exchange import Exchange
from app.client.patience import Patience
from app.client.steps import Call, Emit, Flow, Open, Pause, Reply, Step
from app.client.wire import head, http_options, http_request, lost

P = ParamSpec("P")
Result = TypeVar("Result")


def _returns(
    call: Callable[Concatenate[Calls, P], Call[Result]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Result]]:
    @functools.wraps(call)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await self._take(call(self._calls, *args, **kwargs))

    return method


def _iterates(
    call: Callable[Concatenate[Calls, P], Flow[Result]],
) -> Callable[Concatenate[AsyncClient, P], AsyncGenerator[Result]]:
    @functools.wraps(call)
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Result]:
        return self._iterate(call(self._calls, *args, **kwargs))

    return method


class AsyncClient:
    """Speaks to one gateway with one API key. Tasks of one event loop may share it. Close it, or use it in `async with`.

    Whoever leaves an iteration early should close it: `async with contextlib.aclosing(gateway.stream(job)) as events`.

    Args, Raises: as for `Client`.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        patience: Patience = Patience(),
        trust_env: bool = True,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._calls = Calls(Exchange(url, patience))
        self._api_key, self._sleep = header_value("api_key", api_key), sleep
        self._http = httpx.AsyncClient(**http_options(trust_env=trust_env))
        self.url = self._calls.url

    submit = _returns(Calls.submit)
    submit_batch = _returns(Calls.submit_batch)
    quote = _returns(Calls.quote)
    job = _returns(Calls.job)
    wait = _returns(Calls.wait)
    jobs = _iterates(Calls.jobs)
    page = _returns(Calls.page)
    export = _iterates(Calls.export)
    cancel = _returns(Calls.cancel)
    retry = _returns(Calls.retry)
    image = _returns(Calls.image)
    events = _returns(Calls.events)
    stream = _iterates(Calls.stream)
    usage = _returns(Calls.usage)
    dispatch = _returns(Calls.dispatch)
    pause_dispatch = _returns(Calls.pause_dispatch)
    resume_dispatch = _returns(Calls.resume_dispatch)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def _take(self, call: Call[Result]) -> Result:
        async with _Line(self._http, self._api_key, self._sleep) as line:
            reply: Reply = None
            while True:
                try:
                    step = call.send(reply)
                except StopIteration as end:
                    result: Result = end.value
                    return result
                reply = await line.take(step)

    async def _iterate(self, flow: Flow[Result]) -> AsyncGenerator[Result]:
        async with _Line(self._http, self._api_key, self._sleep) as line:
            reply: Reply = None
            while True:
                try:
                    step = flow.send(reply)
                except StopIteration:
                    return
                if isinstance(step, Emit):
                    yield step.item
                    reply = None
                else:
                    reply = await line.take(step)


class _Line:
    """Takes the steps of one call; holds the answer that is open."""

    def __init__(self, http: httpx.AsyncClient, api_key: str, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._http, self._api_key, self._sleep = http, api_key, sleep
        self._response: httpx.Response | None = None
        self._chunks = _nothing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._hang_up()

    async def take(self, step: Step) -> Reply:
        try:
            if isinstance(step, Open):
                await self._hang_up()
                self._response = await self._http.send(http_request(step.request, self._api_key), stream=True)
                self._chunks = _chunks(self._response)
                return head(self._response)
            if isinstance(step, Pause):
                await self._hang_up()
                await self._sleep(step.seconds)
                return None
            return await anext(self._chunks, None)
        except httpx.TransportError as error:
            return lost(error)

    async def _hang_up(self) -> None:
        await self._chunks.aclose()
        if self._response is not None:
            await self._response.aclose()
            self._response = None


async def _nothing() -> AsyncGenerator[bytes]:
    return
    yield b""


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes]:
    async for chunk in response.aiter_raw():
        if chunk:
            yield chunk
