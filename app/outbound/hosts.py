"""How a host is written: one spelling each, so that what was checked is what is connected to."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

IPAddress = IPv4Address | IPv6Address

NAME_MAX = 253  #: characters of a name that DNS can carry (RFC 1035, 2.3.4)

_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Whatever ends so is an IPv4 address to resolvers and browsers: 2130706433, 127.1, 0x7f.1 (WHATWG URL, "ends in a number").
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


def read_host(text: str) -> IPAddress | str:
    """The address, or the name in lower case, that `text` spells; without brackets.

    Raises ValueError, with a line for whoever wrote it, for everything else: encoded addresses, names not in ASCII, names
    that end in a dot.
    """
    if not text.isascii():
        raise ValueError("the host must be ASCII; write an international name in its xn-- form")
    text = text.lower()
    if (address := _address(text)) is not None:
        if str(address) != text:
            raise ValueError(f"write the address as {address}")
        return address
    if _ENDS_IN_A_NUMBER.fullmatch(text):
        raise ValueError("the host is an encoded address; write it as four decimal numbers")
    if len(text) > NAME_MAX or not _NAME.fullmatch(text):
        raise ValueError("the host is not a well-formed name")
    return text


def _address(text: str) -> IPAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
