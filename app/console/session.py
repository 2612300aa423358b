"""Who is signed in: told by a cookie that only the gateway can read."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.access.api_key import hash_key
from app.access.callers import Access, Caller

COOKIE = "gateway_session"
LASTS = timedelta(hours=12)  #: then one signs in again


class Sessions:
    """Keeps nothing: the cookie holds the hash of the key that signed in, encrypted, and every request asks for that key anew.

    So a key that is revoked ends its sessions at once, on all replicas, and a change of GATEWAY_SECRET_KEY ends them only when
    the key before is taken off the list.

    Args:
        keys: of 32 bytes; the first one encrypts, any of them opens.
    """

    def __init__(self, access: Access, keys: Sequence[bytes]) -> None:
        self._access = access
        self._cipher = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

    def cookie_of(self, api_key: str) -> str:
        """The cookie for whoever showed this key."""
        return self._cipher.encrypt(hash_key(api_key)).decode()

    async def caller(self, cookie: str) -> Caller | None:
        """None where the cookie is none of ours, is too old, or its key opens nothing any more.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        try:
            digest = self._cipher.decrypt(cookie.encode(), ttl=int(LASTS.total_seconds()))
        except (InvalidToken, UnicodeEncodeError):
            return None
        return await self._access.caller_by_hash(digest)
