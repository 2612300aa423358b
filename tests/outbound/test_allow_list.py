"""What the operator may write, and what it opens."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from app.outbound.allow import AllowList


def test_hosts_addresses_and_networks_are_told_apart() -> None:
    allow = AllowList.parse(" Internal.Example, 10.0.0.0/8,192.168.1.7 , fd12::/48,::1,localhost,")

    assert allow.hosts == {"internal.example", "localhost"}
    assert allow.networks == tuple(map(ip_network, ("10.0.0.0/8", "192.168.1.7/32", "fd12::/48", "::1/128")))


@pytest.mark.parametrize("text", ["", "  ", ",", " , ,"])
def test_nothing_written_is_an_empty_list(text: str) -> None:
    assert AllowList.parse(text) == AllowList()


@pytest.mark.parametrize(
    "entry",
    [
        "169.254.0.0/16",
        "169.254.169.254",
        "169.254.170.0/24",
        "fe80::/10",
        "fe80::1",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192/32",
        "fd00:ec2::254",
        "fd00:ec2::/32",
        "fd20:ce::254",
        "0.0.0.0",
        "224.0.0.0/8",
        "255.255.255.255",
        "::",
        "::ffff:10.0.0.0/104",
        "::ffff:a00:1",
        "::a00:1",
        "64:ff9b::/96",
        "64:ff9b::a9fe:a9fe",
        "2002:a00::/24",
        "2001::/32",
    ],
)
def test_an_entry_that_would_open_nothing_is_an_error_that_says_so(entry: str) -> None:
    with pytest.raises(ValueError, match="never opened") as error:
        AllowList.parse(f"internal.example,{entry}")

    assert entry in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "entry",
    [
        "http://internal.example",
        "internal.example:9000",
        "internal.example/hooks",
        "*.internal.example",
        "internal_example",
        "internal.example.",
        "user@internal.example",
        "münchen.example",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0",
        "010.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "fe80::1%eth0",
        "a b",
        "internal.example;10.0.0.0/8",
        "a" * 64 + ".example",
    ],
)
def test_what_is_neither_host_nor_network_is_an_error_of_one_line_with_the_entry(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host like") as error:
        AllowList.parse(f"10.0.0.0/8,{entry}")

    assert entry in str(error.value)
    assert "\n" not in str(error.value)
