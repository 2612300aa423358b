"""The gateway for programs without asyncio."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from app.client.address import header_value
from app.client.calls import Calls
from app.client.exchange import Exchange
from app.client.patience import Patience
from app.client.steps import Call, Emit, Flow, Open, Pause, Reply, Step
from app.client.wire import head, http_options, http_request, lost

P = ParamSpec("P")
Result = TypeVar("Result")


def _returns(call: Callable[Concatenate[Calls, P], Call[Result]]) -> Callable[Concatenate[Client, P], Result]:
    @functools.wraps(call)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self._take(call(self._calls, *args, **kwargs))

    return method


def _iterates(call: Callable[Concatenate[Calls, P], Flow[Result]]) -> Callable[Concatenate[Client, P], Iterator[Result]]:
    @functools.wraps(call)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Result]:
        return self._iterate(call(self._calls, *args, **kwargs))

    return method


class Client:
    """Speaks to one gateway with one API key. Threads may share it. Close it, or use it in a `with` block.

    Args:
        url: where the gateway is; with a path, if it is served below one.
        trust_env: whether proxies and certificates that the environment names are used (`HTTPS_PROXY`, `NO_PROXY`,
            `SSL_CERT_FILE`). A proxy is never asked for this machine itself.
        sleep: how to pause between tries.

    Raises:
        BadArgumentError: the address or the key cannot be one. The message does not repeat it.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        patience: Patience = Patience(),
        trust_env: bool = True,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._calls = Calls(Exchange(url, patience))
        self._api_key, self._sleep = header_value("api_key", api_key), sleep
        self._http = httpx.Client(**http_options(trust_env=trust_env))
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

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _take(self, call: Call[Result]) -> Result:
        with _Line(self._http, self._api_key, self._sleep) as line:
            reply: Reply = None
            while True:
                try:
                    step = call.send(reply)
                except StopIteration as end:
                    result: Result = end.value
                    return result
                reply = line.take(step)

    def _iterate(self, flow: Flow[Result]) -> Iterator[Result]:
        with _Line(self._http, self._api_key, self._sleep) as line:
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
                    reply = line.take(step)


class _Line:
    """Takes the steps of one call; holds the answer that is open."""

    def __init__(self, http: httpx.Client, api_key: str, sleep: Callable[[float], object]) -> None:
        self._http, self._api_key, self._sleep = http, api_key, sleep
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hang_up()

    def take(self, step: Step) -> Reply:
        try:
            if isinstance(step, Open):
                self._hang_up()
                self._response = self._http.send(http_request(step.request, self._api_key), stream=True)
                self._chunks = self._response.iter_raw()
                return head(self._response)
            if isinstance(step, Pause):
                self._hang_up()
                self._sleep(step.seconds)
                return None
            return next(filter(None, self._chunks), None)
        except httpx.TransportError as error:
            return lost(error)

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
