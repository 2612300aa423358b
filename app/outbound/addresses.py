"""Which addresses may be reached. Rows of networks; the longest prefix decides.

The rows of special networks are ssrfguard's, transcribed from IANA. `ipaddress.is_global` is no substitute: it passes
64:ff9b::7f00:1 and 2002:7f00:1::, which are 127.0.0.1 behind a translator, and fec0::/10.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from ssrfguard import DEFAULT_DENIED, AddressTable, Block, Reach

IPNetwork = IPv4Network | IPv6Network


def _row(network: str | IPNetwork, name: str, reach: Reach = Reach.DENIED) -> Block:
    return Block(ip_network(network), name, "", reach)


#: Never reached, whatever an allow list says.
NEVER = (
    _row("169.254.0.0/16", "link-local"),
    _row("fe80::/10", "link-local"),
    _row("168.63.129.16/32", "metadata (Azure)"),
    _row("192.0.0.192/32", "metadata (Oracle)"),
    _row("100.100.100.200/32", "metadata (Alibaba)"),
    _row("fd00:ec2::/32", "metadata (AWS)"),
    _row("fd20:ce::254/128", "metadata (Google)"),
    _row("fd00:c1::a9fe:a9fe/128", "metadata (Oracle)"),
    _row("fd00:42::42/128", "metadata (Scaleway)"),
    _row("fd00:a9fe:a9fe::1/128", "metadata (Linode)"),
    _row("fd00:100::100:200/128", "metadata (Alibaba)"),
    _row("0.0.0.0/8", "this host"),
    _row("::/128", "this host"),
    _row("224.0.0.0/4", "multicast"),
    _row("ff00::/8", "multicast"),
    _row("240.0.0.0/4", "reserved"),
    # These carry an IPv4 address inside, and with it any of the above.
    _row("::/96", "IPv4-compatible"),
    _row("::ffff:0:0/96", "IPv4-mapped"),
    _row("::ffff:0:0:0/96", "IPv4-translated"),
    _row("64:ff9b::/96", "NAT64"),
    _row("64:ff9b:1::/48", "NAT64"),
    _row("2001::/32", "Teredo"),
    _row("2002::/16", "6to4"),
)

_LOOPBACK = ip_network("::1/128")  # inside ::/96 and yet an address of its own

#: What strangers may name: no special network at all, and of IPv6 only what is given out as global unicast.
PUBLIC = (
    *(row for row in DEFAULT_DENIED.blocks if row.reach is Reach.DENIED),
    _row("::/0", "not global unicast"),
    _row("2000::/3", "global unicast", Reach.PERMITTED),
)

NOTHING = (_row("0.0.0.0/0", "not listed"), _row("::/0", "not listed"))
ANYTHING = (_row(_LOOPBACK, "loopback", Reach.PERMITTED),)  # what no row holds may be reached


def table(base: Iterable[Block], opened: Iterable[IPNetwork] = ()) -> AddressTable:
    """`base`, with the networks in `opened` open, and `NEVER` shut."""
    opened = tuple(opened)
    rows = {row.network: _opened(row, opened) for row in base}
    rows |= {network: _row(network, "listed", Reach.PERMITTED) for network in opened}
    rows |= {row.network: row for row in NEVER}
    return AddressTable(tuple(rows.values()))


def never(network: IPNetwork) -> bool:
    """Whether the whole of `network` is shut for ever, so that opening it would do nothing."""
    return network != _LOOPBACK and _inside_any(network, (row.network for row in NEVER))


def _opened(row: Block, opened: Iterable[IPNetwork]) -> Block:
    # Some rows lie within those of `NEVER`, and being longer they would prevail.
    return replace(row, reach=Reach.PERMITTED) if _inside_any(row.network, opened) and not never(row.network) else row


def _inside_any(network: IPNetwork, others: Iterable[IPNetwork]) -> bool:
    return any(_inside(network, other) for other in others)


def _inside(network: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)
