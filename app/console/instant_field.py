"""What a browser's field for an instant holds: UTC to the minute, without saying so. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def written(at: datetime) -> str:
    """The instant, for the field."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def read(text: str) -> str:
    """With its offset, for the API. What is no instant is handed on as it is: the API says what is wrong with it."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat()
    except ValueError:
        return text
