"""Requests that offer another protocol are read in the one that they came in. Source: RFC 9110, 7.8.

A server may ignore `Upgrade`. The parser underneath cannot: once it has seen the offer, it skips the body and takes it for the
next request. Java's HttpClient makes that offer (`h2c`) with every request over plain http, also with those that have a body.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PlainParser(httptools.HttpRequestParser):
    """Feeds a head that holds an offer once more, without it.

    Its protocol must disregard the end of a head, and of a message, while `is_offer` is true: both come again.
    """

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own

    @property
    def is_offer(self) -> bool:
        return self.should_upgrade() and self.get_method() != b"CONNECT"

    def feed_data(self, data: bytes) -> None:  # type: ignore[override] # nothing else comes from a transport
        rest = memoryview(data)
        while True:
            try:
                super().feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                if not self.is_offer:
                    raise
                rest = rest[upgrade.args[0] :]  # what follows the head
                super().feed_data(self._head_without_offer())
            else:
                return

    def _head_without_offer(self) -> bytes:
        version = self.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.get_method(), self._protocol.url, version)]
        lines += [b"%s: %s" % header for header in self._protocol.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
