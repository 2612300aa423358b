"""Whether an address that a stranger named may be called."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ssrfguard import AddressTable, Policy, SSRFGuardError

from app.outbound.addresses import ANYTHING, NOTHING, PUBLIC, table
from app.outbound.allow import AllowList
from app.outbound.errors import ForbiddenAddressError
from app.outbound.hosts import read_host

URL_MAX = 2000  #: characters
PORTS = {"https": 443, "http": 80}  #: of public addresses: https on either; plain http is only for what is listed


class Guard:
    """Lets pass what is public, and what the operator listed.

    Public is https, on port 443 or 80, to an address outside of every special network. Hosts and networks on the list may
    also be reached by plain http and on any port. What is link-local or metadata is never reached.
    """

    def __init__(self, allow: AllowList, *, url_max: int = URL_MAX) -> None:
        self._allow = allow
        self._url_max = url_max
        self._public = table(PUBLIC, allow.networks)
        self._listed = table(NOTHING, allow.networks)
        self._named = table(ANYTHING)

    def check_url(self, url: str) -> None:
        """Raise ForbiddenAddressError for what the URL alone tells; asks no DNS, so a call may still be refused."""
        self.policy(url)

    def policy(self, url: str) -> Policy:
        """What a connection for `url` must obey: this scheme, host and port, and the addresses that they may lead to.

        Raises ForbiddenAddressError as `check_url` does.
        """
        origin = _origin(url, self._url_max)
        addresses, refusal = self._addresses(origin)
        # The library reads the URL once more by itself. Being held to one origin, it refuses whatever it reads otherwise.
        policy = Policy(
            allowed_schemes=frozenset({origin.scheme}),
            allowed_hosts=frozenset({origin.host}),
            allowed_ports=frozenset({origin.port}),
            denied_networks=addresses,
            max_url_length=12 * self._url_max,  # a character may become twelve when it is percent-encoded
        )
        try:
            policy.check_url(url)
        except SSRFGuardError as error:
            raise ForbiddenAddressError(refusal) from error
        return policy

    def _addresses(self, origin: _Origin) -> tuple[AddressTable, str]:
        """Where `origin` may lead, and what to say when it leads elsewhere."""
        if origin.host in self._allow.hosts:
            return self._named, NOT_PUBLIC
        if (refusal := _not_for_strangers(origin)) is None:
            return self._public, NOT_PUBLIC
        if not self._allow.networks:
            raise ForbiddenAddressError(refusal)
        return self._listed, refusal


NOT_PUBLIC = "the host is not at a public address"


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    host: str
    port: int


def _origin(url: str, url_max: int) -> _Origin:
    try:
        parts = _split(url, url_max)
        # `hostname` is in lower case, where a few foreign letters have become ASCII ones: the Kelvin sign is a k.
        host = read_host((parts.hostname or "") if parts.netloc.isascii() else parts.netloc)
        if ":" in str(host) and f"[{host}]" not in parts.netloc:
            raise ValueError(f"write the address as [{host}]")
        port = _port(parts)
    except ValueError as error:
        raise ForbiddenAddressError(str(error)) from None
    return _Origin(parts.scheme, str(host), port)


def _split(url: str, url_max: int) -> SplitResult:
    if len(url) > url_max:
        raise ValueError(f"the URL is longer than {url_max} characters")
    # Others read a backslash as a slash, and urlsplit drops tabs and line ends: they would see another host.
    if not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("the URL holds spaces, backslashes or control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("the URL cannot be read as https://host/path") from None
    if parts.scheme not in PORTS:
        raise ValueError("the URL must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("the URL must not hold a user or a password")
    if "#" in url:
        raise ValueError("the URL must not hold a fragment (#)")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port must be from 1 to 65535")
    return PORTS[parts.scheme] if port is None else port


def _not_for_strangers(origin: _Origin) -> str | None:
    """Why only a listed host or network may be called like this; None if anyone may."""
    if origin.scheme != "https":
        return "the URL must begin with https://"
    if origin.port not in PORTS.values():
        return "the port must be 443 or 80"
    if origin.host == "localhost" or origin.host.endswith(".localhost"):  # loopback by definition (RFC 6761, 6.3)
        return NOT_PUBLIC
    return None
