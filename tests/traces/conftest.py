"""Receivers of deliveries, as the tests of what goes out have them."""

from tests.outbound.conftest import serve

__all__ = ["serve"]
