"""Receivers of deliveries, as the tests of what goes out have them."""

from tests.raw_server import serve

__all__ = ["serve"]
