"""What a URL alone tells. The denied addresses are of every kind that Svix and smokescreen deny in their tests, and more."""

from __future__ import annotations

import pytest
from ssrfguard import BlockedURLError

from app.outbound.allow import AllowList
from app.outbound.errors import ForbiddenAddressError
from app.outbound.guard import Guard

STRICT = Guard(AllowList())
WIDE = Guard(AllowList.parse("0.0.0.0/0,::/0,metadata.example"))
INTERNAL = Guard(AllowList.parse("internal.example,10.0.0.0/8,127.0.0.1,::1,fd12::/48"))

LINK_LOCAL_AND_METADATA = [
    "169.254.169.254",
    "169.254.0.0",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.255.255",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "[fe80::1]",
    "[fe80::a9fe:a9fe]",
    "[febf:ffff::1]",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd20:ce::254]",
    "[fd00:c1::a9fe:a9fe]",
    "[fd00:42::42]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:a9fe:a9fe::1]",
    "[2001::5601:5601]",
]

NEVER = [
    *LINK_LOCAL_AND_METADATA,
    "0.0.0.0",
    "0.255.255.255",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[ff02::1]",
    "[ff02::2]",
    "[::ffff:808:808]",
    "[::ffff:7f00:1]",
    "[::7f00:1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::808:808]",
    "[2002:7f00:1::]",
    "[2002:c0a8:1::]",
    "[2001::1]",
]

NOT_PUBLIC = [
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.3",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "[::1]",
    "[100::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[4000::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fec0::1]",
    "localhost",
    "LOCALHOST",
    "a.localhost",
]

ENCODED = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.001",
    "00127.0.0.1",
    "127.0.0.0x1",
    "127.0.0.1.",
    "127.0.0.1..",
    "127.0.0.256",
    "1.2.3.4.5",
    "0",
    "0x",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.16689662",
    "169.254.43518",
    "[::FFFF:127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::1%25lo]",
    "[fe80::1%25eth0]",
    "[127.0.0.1]",
    "[v1.127.0.0.1]",
    "::1",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "１２７.０.０.１",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "localhost。",
    "localhost.",
    "loc\u00adalhost",
    "\u212aube.example",
    "faß.example",
    "example.com.",
    "exa_mple.com",
    "*.example.com",
    "-.example.com",
    "a..example.com",
    "a" * 64 + ".example.com",
    ".".join(["a" * 50] * 6),
]

MALFORMED = [
    "",
    "example.com/hook",
    "//example.com/hook",
    "/hook",
    "https:",
    "https://",
    "https:///hook",
    "https:example.com",
    "https://:443/",
    "https://?x",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "unix:///run/docker.sock",
    "ws://example.com/",
    "javascript:alert(1)",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://@example.com/",
    "https://:@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:443@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https:\\\\example.com/",
    "https://example.com/#hook",
    "https://example.com/#",
    "https://127.0.0.1#@example.com/",
    "https://exam\tple.com/",
    "https://example.com/\r\nHost: inner",
    " https://example.com/",
    "https://example.com/ x",
    "https://example.com/\x00",
    "https://example.com/\u2028",
    "https://example.com/\udcff",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:-1/",
    "https://example.com:+443/",
    "https://example.com:4４3/",
    "https://example.com:443:443/",
    "https://[::1/",
    "https://::1]/",
    "https://example.com/" + "a" * 2000,
]


@pytest.mark.parametrize("host", [*NEVER, *NOT_PUBLIC, *ENCODED])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_without_a_list_no_spelling_of_an_inner_host_passes(scheme: str, host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        STRICT.check_url(f"{scheme}://{host}/hook")


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("guard", [STRICT, WIDE, INTERNAL], ids=["strict", "wide", "internal"])
def test_what_is_no_plain_web_address_never_passes(guard: Guard, url: str) -> None:
    with pytest.raises(ForbiddenAddressError) as refused:
        guard.check_url(url)

    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", NEVER)
@pytest.mark.parametrize("port", ["", ":443", ":80", ":8080"])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_list_of_everything_opens_neither_link_local_nor_metadata(scheme: str, host: str, port: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        WIDE.check_url(f"{scheme}://{host}{port}/")


@pytest.mark.parametrize("host", ENCODED)
def test_a_list_of_everything_opens_no_other_spelling(host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        WIDE.check_url(f"https://{host}/")


@pytest.mark.parametrize("host", [host.strip("[]") for host in NEVER])
def test_a_listed_name_may_lead_anywhere_but_to_link_local_and_metadata(host: str) -> None:
    policy = WIDE.policy("http://metadata.example:8080/")

    assert not policy.permits_address(host)
    assert policy.permits_address("10.0.0.1")
    assert policy.permits_address("::1")


@pytest.mark.parametrize("host", [host.strip("[]") for host in [*NEVER, *NOT_PUBLIC] if "localhost" not in host.lower()])
def test_a_public_name_may_lead_to_public_addresses_alone(host: str) -> None:
    policy = STRICT.policy("https://example.com/")

    assert not policy.permits_address(host)
    assert policy.permits_address("93.184.215.14")
    assert policy.permits_address("2606:4700::1111")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/",
        "HTTPS://Example.COM/Hook",
        "https://example.com:443/hook?x=1&y=%20",
        "https://example.com:80/",
        "https://example.com:/",
        "https://xn--mnchen-3ya.example/",
        "https://a-b.c1.example/",
        "https://1password.com/",
        "https://0x7f.example/",
        "https://example.com/Bilder/Grün.png",
        "https://example.com/@user",
        "https://8.8.8.8/",
        "https://1.1.1.1/",
        "https://11.0.0.1/",
        "https://100.63.255.255/",
        "https://100.128.0.1/",
        "https://168.63.129.15/",
        "https://169.253.0.1/",
        "https://172.15.255.255/",
        "https://172.32.0.1/",
        "https://192.167.255.255/",
        "https://223.255.255.255/",
        "https://[2606:4700::1111]/",
        "https://[2a00:1450:4001:81b::200e]:443/",
        "https://example.com/" + "a" * 1980,
    ],
)
def test_what_is_public_passes(url: str) -> None:
    STRICT.check_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "must begin with https://"),
        ("http://8.8.8.8/", "must begin with https://"),
        ("https://example.com:8443/", "port must be 443 or 80"),
        ("https://example.com:22/", "port must be 443 or 80"),
        ("https://10.0.0.1/", "not at a public address"),
        ("https://2130706433/", "encoded address"),
        ("https://[0:0:0:0:0:0:0:1]/", "write the address as ::1"),
        ("https://[2606:4700::AB]/", r"write the address as \[2606:4700::ab\]"),
        ("https://münchen.example/", "xn-- form"),
        ("https://u:p@example.com/", "user or a password"),
        ("https://example.com/#x", "fragment"),
        ("https://example.com/" + "a" * 2000, "longer than 2000 characters"),
        ("https://example.com:99999/", "port must be from 1 to 65535"),
    ],
)
def test_the_refusal_says_what_to_write_instead(url: str, reason: str) -> None:
    with pytest.raises(ForbiddenAddressError, match=reason):
        STRICT.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://internal.example/",
        "http://INTERNAL.example:9000/",
        "https://internal.example:8443/",
        "http://10.1.2.3:8080/",
        "https://10.1.2.3/",
        "http://127.0.0.1:9000/",
        "http://[::1]:9000/",
        "https://[fd12::7]/",
        "https://example.com/",
        "https://8.8.8.8/",
    ],
)
def test_what_is_listed_passes_on_any_port_and_without_tls(url: str) -> None:
    INTERNAL.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/",
        "https://8.8.8.8:8443/",
        "http://127.0.0.2:9000/",
        "https://127.0.0.2/",
        "https://192.168.0.1/",
        "https://11.0.0.1:9000/",
        "http://[::2]/",
        "https://[fd13::7]/",
    ],
)
def test_what_is_beside_the_list_stays_shut(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        INTERNAL.check_url(url)


@pytest.mark.parametrize("name", ["example", "below.internal.example", "notinternal.example", "internal.example.com"])
def test_a_listed_name_opens_itself_alone(name: str) -> None:
    beside = Guard(AllowList.parse("internal.example")).policy(f"https://{name}/")

    assert not beside.permits_address("10.0.0.1")


def test_a_name_over_plain_http_is_left_to_its_addresses_where_networks_are_listed() -> None:
    policy = INTERNAL.policy("http://billing:8080/")

    assert policy.permits_address("10.0.0.1")
    assert not policy.permits_address("8.8.8.8")


@pytest.mark.parametrize(
    "url", ["https://other.example/", "https://8.8.8.8/", "https://hooks.example:80/", "http://hooks.example:443/"]
)
def test_a_policy_is_for_one_origin(url: str) -> None:
    policy = STRICT.policy("https://hooks.example/a")
    policy.check_url("https://hooks.example/b")

    with pytest.raises(BlockedURLError):
        policy.check_url(url)


def test_a_longer_url_may_be_agreed_upon() -> None:
    url = "https://example.com/" + "a" * 3000

    Guard(AllowList(), url_max=4096).check_url(url)
    with pytest.raises(ForbiddenAddressError):
        Guard(AllowList(), url_max=3000).check_url(url)
