"""Links that open a picture for people without a key, until they expire. Pure. Source: W3C TAG, capability URLs."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

_PURPOSE = "gateway picture link 1"  # the keys sign other things too; none of those is ever a link
_INSTANT = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)


def sign(path: str, expires_at: datetime, key: bytes) -> str:
    """The query string that makes the path a link: `expires=…&signature=…`.

    Args:
        path: as the route sees it, without host, prefix of a proxy, or query: `/jobs/<id>/images/0`.
        expires_at: aware; counted in whole seconds, so the link may end up to a second sooner.

    Raises:
        ValueError: the instant is naive, or before 1970.
    """
    if expires_at.utcoffset() is None or expires_at.timestamp() < 1:
        raise ValueError("a link expires at an aware instant after 1970")
    expires = str(int(expires_at.timestamp()))
    return urlencode({"expires": expires, "signature": _signature(path, expires, key)})


def verify(path: str, expires: str, signature: str, *, now: datetime, keys: Sequence[bytes]) -> bool:
    """Whether one of the keys signed just this path and this instant, and the instant has not come.

    Anything may be passed as `expires` and `signature`. Keys rotate: the first one signs, all of them verify.
    """
    given = signature.encode("utf-8", "replace")
    # Every key is tried, so that the time taken does not tell which one fits.
    fits = [hmac.compare_digest(_signature(path, expires, key).encode(), given) for key in keys]
    return any(fits) and _INSTANT.fullmatch(expires) is not None and now.timestamp() < int(expires)


def _signature(path: str, expires: str, key: bytes) -> str:
    # The instant comes first and holds no line break once it is checked, so no two links share a text.
    signed = f"{_PURPOSE}\n{expires}\n{path}".encode("utf-8", "replace")
    return urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).rstrip(b"=").decode()
