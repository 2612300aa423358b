"""The stores' tests run on both databases, under a clock that only they move."""

from tests.timed import clock, database, factory

__all__ = ["clock", "database", "factory"]
