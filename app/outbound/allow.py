"""The operator's list of hosts and networks that may be reached although they are not public."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from app.outbound.addresses import IPNetwork, never
from app.outbound.hosts import read_host


@dataclass(frozen=True, slots=True)
class AllowList:
    """Hosts by name and networks, open on any port and for plain http. Link-local and metadata addresses stay shut.

    A name opens itself alone, not what is below it, and wherever it leads; so list only names whose DNS is yours.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """Read `internal.example, 10.0.0.0/8, 192.168.1.7, fd12::/48`; nothing between commas is nothing.

        Raises ValueError, with one line that names the entry.
        """
        entries = [_read(entry) for part in text.split(",") if (entry := part.strip())]
        return cls(
            hosts=frozenset(entry for entry in entries if isinstance(entry, str)),
            networks=tuple(dict.fromkeys(entry for entry in entries if not isinstance(entry, str))),
        )


def _read(entry: str) -> IPNetwork | str:
    try:
        if "/" not in entry:
            host = read_host(entry)
            return host if isinstance(host, str) else _network(entry)
        return _network(entry)
    except ValueError as error:
        raise ValueError(f"{entry!r} is not a host like internal.example or a network like 10.0.0.0/8: {error}") from None


def _network(entry: str) -> IPNetwork:
    network = ip_network(entry)
    if never(network):
        raise ValueError("it is link-local, metadata, multicast or a translation of IPv4, which are never opened")
    return network
