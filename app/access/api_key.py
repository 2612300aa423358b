"""The API key itself: what it looks like, how it is made, and what is stored of it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

from app.access.scope import Scope
from app.storage.keys import KeyStore, StoredKey


async def make_key(
    keys: KeyStore, *, tenant: str, name: str, scopes: Iterable[Scope], expires_at: datetime | None, by: str
) -> tuple[str, StoredKey]:
    """A new key, to be shown only once, and what is stored of it. Its tenant is made where it is new.

    Raises:
        ExpiredBeforeMadeError: `expires_at` is not in the future.
    """
    ordered = tuple(scope for scope in Scope if scope in set(scopes))
    while True:  # ids are short to be read, so one may be taken
        key_id, api_key = new_key()
        stored = await keys.insert_if_absent(
            key_id=key_id,
            tenant=tenant,
            name=name,
            secret_hash=hash_key(api_key),
            scopes=ordered,
            expires_at=expires_at,
            by=by,
        )
        if stored is not None:
            return api_key, stored


def new_key() -> tuple[str, str]:
    """An id, and a key that begins with a readable prefix and this id and ends in 256 random bits."""
    key_id = secrets.token_hex(4)
    return key_id, f"gw_{key_id}_{secrets.token_urlsafe(32)}"


def hash_key(api_key: str) -> bytes:
    """What is stored of a key. It is long and random, so a fast hash keeps it safe."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()
