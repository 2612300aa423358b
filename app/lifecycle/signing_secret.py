"""The secret that a delivery's sender and its receiver share, as Standard Webhooks 1.0.0 writes it. Pure."""

from __future__ import annotations

import base64
import secrets

_PREFIX = "whsec_"


def new_secret() -> str:
    """A secret to share with one receiver: `whsec_` and the base64 of 32 bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """What `whsec_…` stands for.

    Raises:
        ValueError: it is not `whsec_` and the base64 of 24 to 64 bytes. The message does not repeat it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if secret.startswith(_PREFIX) else b""
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("a signing secret is whsec_ and the base64 of 24 to 64 bytes")
    return key
