"""A name server over UDP on loopback whose records move as they are told."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import cast

from ssrfguard import Resolver
from ssrfguard.resolvers import UdpResolver

_TYPES = {1: 4, 28: 6}  # of a record → version of its address


class NameServer(asyncio.DatagramProtocol):
    """Answers the first question for addresses with `records[0]`, the second with `records[1]`, and so on; the last stays.

    IPv6 addresses go into AAAA records, IPv4 addresses into A records. Names play no part.
    """

    def __init__(self, *records: tuple[str, ...]) -> None:
        self.records = list(records)
        self.lookups = 0  #: answered; a lookup asks for AAAA and then for A
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = data[12:]
        (kind,) = struct.unpack("!H", question[-4:-2])
        answers = [_record(kind, address) for address in self.records[0] if ip_address(address).version == _TYPES[kind]]
        header = data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(answers), 0, 0)
        self._transport.sendto(header + question + b"".join(answers), addr)
        if kind == 1:
            self.lookups += 1
            if len(self.records) > 1:
                self.records.pop(0)

    def resolver(self) -> Resolver:
        return UdpResolver(nameservers=("127.0.0.1",), nameserver_port=self.port)


def _record(kind: int, address: str) -> bytes:
    packed = ip_address(address).packed
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(packed)) + packed


@asynccontextmanager
async def name_server(*records: tuple[str, ...]) -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(*records), local_addr=("127.0.0.1", 0))
    yield server
    transport.close()
