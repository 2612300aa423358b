"""Whether a task that a callback or an operator named is ours: tokens, and what the upstream echoes of our request. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from app.lifecycle.answers import StillGoing, Succeeded, TaskFailed
from app.lifecycle.request import GenerationRequest


def new_token() -> tuple[str, bytes]:
    """An unguessable callback token (256 random bits) and the hash under which it is known."""
    token = secrets.token_urlsafe(32)
    return token, hash_token(token)


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_ours(reading: StillGoing | Succeeded | TaskFailed, request: GenerationRequest, token_hash: bytes) -> bool:
    """Our request stands behind the task, as far as the upstream echoes it.

    An echoed `callback_url` decides, since it holds this submission's token; without it the prompt must be ours. With nothing
    echoed nothing is proven, and the candidate is not believed.
    """
    if reading.callback_url is not None:
        echoed = hash_token(reading.callback_url.rpartition("/")[2])
        return hmac.compare_digest(echoed, token_hash)
    return reading.prompt == request.prompt
