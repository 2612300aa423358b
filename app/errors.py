"""Errors that cross a border inside the gateway. The docstring is the message.

GatewayError
├── StorageUnavailableError     the database is away; try again soon
├── AlreadyRunningError         another process holds the SQLite database
├── SettingsError               a setting is bad or missing
└── SchemaError                 the database's schema is not the one this version needs
"""

from __future__ import annotations


class GatewayError(Exception):
    """Something that the gateway knows how to explain."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")


class StorageUnavailableError(GatewayError):
    """The database is out of reach or refused to work; try again soon."""


class AlreadyRunningError(GatewayError):
    """Another process holds this SQLite database."""


class SettingsError(GatewayError):
    """A setting is bad or missing."""


class SchemaError(GatewayError):
    """The database's schema is not the one this version needs."""
