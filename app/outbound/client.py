"""Calls to addresses that strangers named. Every connection goes to an address that was checked, and is used once.

A host name is looked up once a call and hop, every address in the answer is checked, and the connection is made to one of
those very addresses (ssrfguard); so a name server that changes its mind changes nothing. TLS and the Host header keep the
name. Nothing is taken from the environment, no cookie is kept, and no connection is used for a second call: each attempt
is checked anew.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urljoin

import httpx
from ssrfguard import Resolver, SSRFGuardError
from ssrfguard.httpx import AsyncSafeTransport

from app import USER_AGENT
from app.outbound.errors import ForbiddenAddressError, OutboundError, TooLargeError, UnreachableError, UnreadableError
from app.outbound.guard import NOT_PUBLIC, Guard
from app.outbound.lookups import Lookups

CONNECT = timedelta(seconds=5)  #: TCP and TLS for one address of the host; the deadline of the call stands above it
LOOKUPS = 100  #: names being looked up at a time

_OURS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int  #: of HTTP
    headers: Mapping[str, str] = field(repr=False)  #: names in lower case
    body: bytes = field(repr=False)  #: as it came from the wire
    url: str = field(repr=False)  #: who answered, after redirects


class OutboundClient:
    """Made once, used by many tasks; holds no connections, so there is nothing to close.

    `resolver` has the shape of `socket.getaddrinfo` and runs in threads; `tls` replaces the usual certificate authorities.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        resolver: Resolver = socket.getaddrinfo,
        tls: ssl.SSLContext | None = None,
        lookups: int = LOOKUPS,
    ) -> None:
        self._guard = guard
        self._resolver = Lookups(resolver, lookups)
        self._tls = tls or httpx.create_ssl_context(trust_env=False)  # made once: it takes some 20 ms
        self._timeout = httpx.Timeout(None, connect=CONNECT.total_seconds())

    async def post(
        self, url: str, content: bytes, *, headers: Mapping[str, str], deadline: timedelta, excerpt_max: int
    ) -> Answer:
        """Send `content`, once, and report the status with at most `excerpt_max` bytes of the body.

        Redirects are answers like any other. `deadline` is for the whole call. Once the head of an answer is there, the
        call has succeeded in being answered: a body that is late, broken or endless is cut.

        Raises ForbiddenAddressError, UnreachableError, UnreadableError.
        """
        reading = _Reading(url)
        with _in_our_words(unless=reading):
            async with (
                asyncio.timeout(deadline.total_seconds()),
                self._exchange("POST", url, headers=headers, content=content) as response,
            ):
                await reading.excerpt(response, excerpt_max)
        return reading.answer()

    async def get(self, url: str, *, deadline: timedelta, body_max: int, redirects: int = 0) -> Answer:
        """Fetch the whole of a body of at most `body_max` bytes, following at most `redirects` redirects.

        `deadline` is for the whole call with its redirects. The body is read of a 2xx alone, and only if it is not
        compressed. A redirect too many is returned as the answer that it is.

        Raises ForbiddenAddressError, UnreachableError, UnreadableError, TooLargeError.
        """
        with _in_our_words():
            async with asyncio.timeout(deadline.total_seconds()):
                return await self._follow(url, body_max, redirects)

    async def _follow(self, url: str, body_max: int, redirects: int) -> Answer:
        while True:
            url = url.partition("#")[0]  # a fragment is never sent
            answer = await self._get(url, body_max)
            if not redirects or (target := _target(answer)) is None:
                return answer
            url, redirects = target, redirects - 1

    async def _get(self, url: str, body_max: int) -> Answer:
        reading = _Reading(url)
        async with self._exchange("GET", url) as response:
            if response.is_success:
                await reading.whole(response, body_max)
            else:
                reading.head(response)
        return reading.answer()

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        # Without httpx's client on top: no redirects, cookies, proxies or netrc that would have to be turned off.
        policy = self._guard.policy(url)
        sent = httpx.Headers(_OURS)
        sent.update(headers or {})
        request = httpx.Request(method, url, headers=sent, content=content, extensions={"timeout": self._timeout.as_dict()})
        transport = AsyncSafeTransport(policy=policy, resolver=self._resolver, verify=self._tls, trust_env=False)
        async with transport, aclosing(await transport.handle_async_request(request)) as response:
            yield response


@dataclass(slots=True)
class _Reading:
    """As much of an answer as has come."""

    url: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False

    def head(self, response: httpx.Response) -> None:
        self.status, self.headers = response.status_code, dict(response.headers)

    async def excerpt(self, response: httpx.Response, limit: int) -> None:
        self.head(response)
        async for chunk in response.aiter_raw():  # raw: nothing can inflate
            room = limit - len(self.body)
            self.body += chunk[:room]
            if len(chunk) > room:
                return
        self.ended = True

    async def whole(self, response: httpx.Response, limit: int) -> None:
        self.head(response)
        if not _is_plain(response):
            raise UnreadableError("the answer is compressed, which was not asked for")
        if _declared_length(response) > limit:
            raise TooLargeError
        await self.excerpt(response, limit)
        if not self.ended:
            raise TooLargeError

    def answer(self) -> Answer:
        assert self.status is not None
        return Answer(self.status, self.headers, bytes(self.body), self.url)


def _is_plain(response: httpx.Response) -> bool:
    codings = response.headers.get("content-encoding", "").lower().split(",")
    return all(coding.strip() in ("", "identity") for coding in codings)


def _declared_length(response: httpx.Response) -> int:
    text = response.headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0


def _target(answer: Answer) -> str | None:
    location = answer.headers.get("location")
    if location is None or answer.status not in (301, 302, 303, 307, 308):
        return None
    try:
        return urljoin(answer.url, location)
    except ValueError:
        raise ForbiddenAddressError("the redirect leads to no address") from None


#: The border: what each error of the libraries is in our words. The first row that fits the error or one of its causes
#: decides. Their own texts are not repeated: they hold addresses.
_ERRORS: tuple[tuple[type[BaseException], type[OutboundError], str], ...] = (
    (SSRFGuardError, ForbiddenAddressError, NOT_PUBLIC),
    (httpx.InvalidURL, ForbiddenAddressError, "the URL cannot be read as https://host/path"),
    (socket.gaierror, UnreachableError, "the host name did not resolve"),
    (ssl.SSLCertVerificationError, UnreachableError, "the TLS certificate was not accepted"),
    (ssl.SSLError, UnreachableError, "TLS failed"),
    (httpx.ConnectTimeout, UnreachableError, "connecting took too long"),
    (httpx.ConnectError, UnreachableError, "no connection could be made"),
    (httpx.RemoteProtocolError, UnreadableError, "the answer is not HTTP that we accept, or broke off"),
    (httpx.NetworkError, UnreachableError, "the connection broke"),
    (httpx.TransportError, UnreachableError, "the exchange failed"),
    (TimeoutError, UnreachableError, "the deadline ran out"),
)


@contextmanager
def _in_our_words(unless: _Reading | None = None) -> Iterator[None]:
    """Translate the libraries' errors; swallow them if `unless` holds the head of an answer."""
    try:
        yield
    except Exception as error:
        row = next((row for row in _ERRORS if any(isinstance(cause, row[0]) for cause in _causes(error))), None)
        if row is None or isinstance(error, OutboundError):
            raise
        if unless is None or unless.status is None:
            raise row[1](row[2]) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__  # httpcore cuts the cause off (`raise … from None`); the context stays
