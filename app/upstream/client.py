"""The HTTP client of the upstream: one submit, one check. The only module that knows aiohttp and its transport.

A submit costs money, so of everything that can go wrong one thing must be told apart from the rest: *no connection was
made* (nothing was sent, the job may be sent again) against *a connection was made* (nobody can say).
"""

from __future__ import annotations

import asyncio
import errno
import json
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from app import USER_AGENT
from app.lifecycle.answers import (
    Accepted,
    NoAnswer,
    NotFound,
    Reading,
    Refusal,
    Refused,
    Rejected,
    StillGoing,
    SubmitAnswer,
    Succeeded,
    TaskFailed,
    Unproven,
)
from app.lifecycle.request import GenerationRequest
from app.metrics import Metrics
from app.retry_after import http_date
from app.upstream import wire

BODY_MAX = 1 << 20  #: bytes read of an answer, as they come from the wire
SUBMIT_IDLE = timedelta(seconds=2)  #: a connection idle for longer is never used for a submit
CHECK_IDLE = timedelta(seconds=15)  #: for checks, which may be repeated without harm


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the upstream may take."""

    connect: timedelta = timedelta(seconds=5)  #: name resolution, TCP and TLS together
    submit: timedelta = timedelta(seconds=30)  #: a whole submit, connecting and reading included
    status: timedelta = timedelta(seconds=15)  #: a whole check, likewise


@dataclass(frozen=True, slots=True)
class Probe:
    """What the upstream answered to the question for a task that cannot be."""

    reading: Reading
    told_at: datetime | None  #: its `Date`, to the second; None where it gave none


class UpstreamClient:
    """Speaks to one upstream with one key; made once, used by many tasks of one event loop, closed by `aclose`.

    Neither `submit` nor `status` raises for anything that the upstream or the network does. No proxy, netrc, cookie or
    redirect is ever used, and no layer sends a submit twice. `transport` replaces the network, for tests.

    Raises ValueError for a base URL that is not plain http(s), or a key that no header can hold.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeouts: Timeouts = Timeouts(),
        transport: httpx.AsyncBaseTransport | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._base_url = _checked_base_url(base_url)
        self._api_key = _checked_key(api_key)
        self._timeouts, self._metrics = timeouts, metrics or Metrics()
        self._submits = self._http(transport or _transport(SUBMIT_IDLE))
        self._checks = self._http(_transport(CHECK_IDLE)) if transport is None else self._submits

    async def submit(self, request: GenerationRequest, callback_url: str | None) -> SubmitAnswer:
        """Send one generation, once (`POST /api/generate`)."""
        began = time.monotonic()
        answer = await self._submit(request, callback_url)
        self._metrics.upstream_asked("submit", outcome_of(answer), time.monotonic() - began)
        return answer

    async def status(self, task_id: str) -> Reading:
        """Ask what became of a task (`GET /api/status`); may be repeated at will."""
        began = time.monotonic()
        reading, _ = await self._status(task_id)
        self._metrics.upstream_asked("status", outcome_of(reading), time.monotonic() - began)
        return reading

    async def probe(self) -> Probe:
        """Ask for a made-up task, which costs nothing: `NotFound` says that the upstream is there and the key is good."""
        began = time.monotonic()
        reading, headers = await self._status(f"gateway-probe-{uuid4().hex}")
        self._metrics.upstream_asked("status", outcome_of(reading), time.monotonic() - began)
        return Probe(reading, http_date(headers.get("date")))

    async def aclose(self) -> None:
        """Close all connections; call it after the last submit and check have returned."""
        await self._submits.aclose()
        await self._checks.aclose()

    async def _submit(self, request: GenerationRequest, callback_url: str | None) -> SubmitAnswer:
        if self._submits.is_closed:
            return Refused(Refusal.NOT_CONNECTED, "the client is closed")
        hide = _secrets(self._api_key, callback_url)
        # ASCII, so that no charset can be mistaken on the way, and any text at all can be sent.
        content = json.dumps(wire.generate_body(request, callback_url), separators=(",", ":")).encode("ascii")
        await _hear_closed_connections()
        exchange = await self._exchange(
            self._submits,
            self._timeouts.submit,
            "POST",
            f"{self._base_url}/api/generate",
            content=content,
            headers={"Content-Type": "application/json"},
        )
        if exchange.status is not None:
            answer = wire.read_submit(exchange.status, exchange.headers, bytes(exchange.body), hide=hide)
            # What came before the answer broke off may be conclusive on its own: a JSON object shows its own end.
            if exchange.error is None or not isinstance(answer, Unproven):
                return answer
        if exchange.nothing_was_sent():
            return Refused(Refusal.NOT_CONNECTED, exchange.trouble())
        return Unproven(exchange.trouble())

    async def _status(self, task_id: str) -> tuple[Reading, Mapping[str, str]]:
        if self._checks.is_closed:
            return NoAnswer("the client is closed"), {}
        exchange = await self._exchange(
            self._checks,
            self._timeouts.status,
            "GET",
            f"{self._base_url}/api/status",
            params={"task_id": task_id},
        )
        if exchange.status is not None:
            hide = _secrets(self._api_key, None)
            reading = wire.read_status(exchange.status, exchange.headers, bytes(exchange.body), task_id, hide=hide)
            if exchange.error is None or not _says_nothing(reading):
                return reading, exchange.headers
        return NoAnswer(exchange.trouble()), exchange.headers

    async def _exchange(self, http: httpx.AsyncClient, deadline: timedelta, method: str, url: str, **request: Any) -> _Exchange:
        exchange = _Exchange()
        token = _EXCHANGE.set(exchange)
        try:
            # httpx counts its timeouts anew for every read: a dripping answer would outlive them.
            async with asyncio.timeout(deadline.total_seconds()), http.stream(method, url, **request) as response:
                await exchange.read(response)
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, `_ERRORS` says what it proves
            exchange.error = error
        finally:
            _EXCHANGE.reset(token)
        return exchange

    def _http(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
        connect = self._timeouts.connect.total_seconds()
        return httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # The transport reads "pool" as the time for connecting altogether, "connect" as that for one address of many.
            timeout=httpx.Timeout(None, connect=connect, pool=connect),
            headers={
                "Authorization": f"Bearer {self._api_key}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": USER_AGENT,
            },
        )


def outcome_of(answer: SubmitAnswer | Reading) -> str:
    """In a word, for metrics and traces."""
    match answer:
        case Refused():
            return answer.reason.value
        case NoAnswer():
            return "unauthorized" if answer.unauthorized else "no_answer"
        case _:
            return _OUTCOMES[type(answer)]


_OUTCOMES: dict[type[SubmitAnswer | Reading], str] = {
    Accepted: "accepted", Rejected: "rejected", Unproven: "unproven",
    StillGoing: "going", Succeeded: "succeeded", TaskFailed: "failed", NotFound: "not_found",
}  # fmt: skip


class _Reach(Enum):
    """How far a request came, as aiohttp itself tells."""

    UNKNOWN = "unknown"  #: nothing was told: not begun, or another transport
    DIALLING = "dialling"  #: begun, and no connection handed to it yet, so not a byte was written
    CONNECTED = "connected"  #: it has a connection; anything may have been written


class _TooLongError(Exception):
    """The answer is longer than `BODY_MAX`."""


#: The border: what each error of the libraries says in our words, and whether it proves *by itself* that nothing was sent.
#: The first row that fits decides. The texts of the errors are not repeated: they may hold addresses and what was sent.
_ERRORS: tuple[tuple[type[BaseException], bool, str], ...] = (
    (_TooLongError, False, "the answer is too long"),
    # aiohttp, before a connection is there
    (aiohttp.ClientConnectorDNSError, True, "the host name did not resolve"),
    (aiohttp.ClientConnectorCertificateError, True, "the TLS certificate was not accepted"),
    (aiohttp.ClientConnectorSSLError, True, "the TLS handshake failed"),
    (aiohttp.ClientConnectorError, True, "no connection could be made"),
    (aiohttp.ConnectionTimeoutError, True, "connecting took too long"),
    (aiohttp.InvalidUrlClientError, True, "the address is not valid"),
    (aiohttp.NonHttpUrlClientError, True, "the address is not valid"),
    # aiohttp, after it
    (aiohttp.SocketTimeoutError, False, "no answer in time"),
    (aiohttp.ServerDisconnectedError, False, "the connection was closed before an answer came"),
    (aiohttp.ClientConnectionError, False, "the connection broke"),  # ClientOSError, ClientConnectionResetError
    (aiohttp.ClientPayloadError, False, "the answer broke off"),
    (aiohttp.ClientResponseError, False, "the answer is not HTTP that we accept"),
    (aiohttp.ClientError, False, "the exchange failed"),
    # httpx, from another transport
    (httpx.ConnectError, True, "no connection could be made"),
    (httpx.ConnectTimeout, True, "connecting took too long"),
    (httpx.UnsupportedProtocol, True, "the address is not valid"),
    (httpx.InvalidURL, True, "the address is not valid"),
    (httpx.PoolTimeout, False, "no free connection in time"),
    (httpx.TimeoutException, False, "no answer in time"),
    (httpx.NetworkError, False, "the connection broke"),
    (httpx.RequestError, False, "the exchange failed"),
    # ours
    (TimeoutError, False, "the deadline ran out"),
    (Exception, False, "the exchange failed unexpectedly"),
)


@dataclass(slots=True)
class _Exchange:
    """One request and as much of its answer as came."""

    reach: _Reach = _Reach.UNKNOWN
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    error: Exception | None = None

    async def read(self, response: httpx.Response) -> None:
        self.status, self.headers = response.status_code, response.headers
        async for chunk in response.aiter_raw():  # raw: an answer cannot inflate
            self.body += chunk[: BODY_MAX + 1 - len(self.body)]
            if len(self.body) > BODY_MAX:
                raise _TooLongError

    def nothing_was_sent(self) -> bool:
        """Whether it is proven that no connection was made; in doubt False, for True means that it is sent again."""
        if self.reach is _Reach.UNKNOWN:
            return _row(self.error)[1]
        return self.reach is _Reach.DIALLING

    def trouble(self) -> str:
        """What went wrong, in a few words that hold nothing of the request."""
        error = _root(self.error)
        number = errno.errorcode.get(getattr(error, "errno", None) or 0)
        where = " while connecting" if self.reach is _Reach.DIALLING and type(error) is TimeoutError else ""
        return f"{_row(error)[2]}{where} ({type(error).__name__}{f', {number}' if number else ''})"


def _row(error: BaseException | None) -> tuple[type[BaseException], bool, str]:
    root = _root(error)
    return next((row for row in _ERRORS if isinstance(root, row[0])), _ERRORS[-1])


def _root(error: BaseException | None) -> BaseException | None:
    # httpx-aiohttp turns every ClientConnectionError, a lost answer and a refused connection alike, into ConnectTimeout.
    # Only its cause still tells them apart.
    if isinstance(error, httpx.HTTPError) and isinstance(error.__cause__, aiohttp.ClientError):
        return error.__cause__
    return error


_EXCHANGE: ContextVar[_Exchange] = ContextVar("_EXCHANGE")


def _transport(idle: timedelta) -> AiohttpTransport:
    tls = _tls()

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=idle.total_seconds(), ssl=tls),  # 0: no limit
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[_tracing()],
            response_class=_AnswerWithoutReason,
        )

    return AiohttpTransport(verify=tls, trust_env=False, client=session)


@cache
def _tls() -> ssl.SSLContext:
    # Made once: reading the authorities takes some 20 ms. Never from SSL_CERT_FILE.
    return httpx.create_ssl_context(trust_env=False)


def _tracing() -> aiohttp.TraceConfig:
    async def dialling(*_: object) -> None:
        _EXCHANGE.get().reach = _Reach.DIALLING

    async def connected(*_: object) -> None:
        _EXCHANGE.get().reach = _Reach.CONNECTED

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(dialling)
    # Both are awaited before the first byte is written; a fresh connection only after its TLS handshake.
    tracing.on_connection_create_end.append(connected)
    tracing.on_connection_reuseconn.append(connected)
    return tracing


class _AnswerWithoutReason(aiohttp.ClientResponse):
    """httpx-aiohttp encodes the reason phrase and dies of one that is not UTF-8, with the task id still unread."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        self.reason = None
        return self


async def _hear_closed_connections() -> None:
    # After a busy turn of the loop the upstream's FIN may lie in the socket, unread, and an idle connection still look
    # alive. Two turns let the loop poll and act on it, which spares the job an answer that nobody can prove.
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _says_nothing(reading: Reading) -> bool:
    return isinstance(reading, NoAnswer) and not reading.unauthorized and reading.retry_after is None


def _secrets(api_key: str, callback_url: str | None) -> tuple[str, ...]:
    """What no message may repeat: the key, the callback's address, and the token that ends it."""
    if not callback_url:
        return (api_key,)
    last = urlsplit(callback_url).path.rpartition("/")[2]
    return (api_key, callback_url, last) if len(last) >= 16 else (api_key, callback_url)


def _checked_base_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError("the upstream's base URL must be http(s)://host[:port][/path]")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the upstream's base URL must not hold credentials: they would replace the API key")
    return base_url.rstrip("/")


def _checked_key(api_key: str) -> str:
    if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
        raise ValueError("the upstream's API key must be printable ASCII")
    return api_key
