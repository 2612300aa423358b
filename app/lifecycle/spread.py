"""Spreads what would happen at once, by a hash rather than by chance, so that the same past gives the same future. Pure."""

from __future__ import annotations

import hashlib


def spread(key: bytes) -> float:
    """A number in [0, 1) that is the same for the same key."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest()) / 2**32
