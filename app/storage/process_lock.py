"""SQLite is for one process: a lock file beside the database keeps a second one out, and names the first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import AlreadyRunningError, SettingsError


@contextmanager
def only_process(database_path: Path) -> Iterator[None]:
    """Holds the lock while the block runs. The system frees it when the process ends, however it ends.

    Raises:
        AlreadyRunningError: another process holds it; the message names its process id.
        SettingsError: the folder cannot be written.
    """
    path = _lock_file(database_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+")
    except OSError as error:
        raise SettingsError(f"GATEWAY_DATABASE_URL: {path.parent} cannot be written: {error.strerror}") from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyRunningError(
                f"{database_path} is already in use by process {holder}; SQLite is for one process (use PostgreSQL for more)"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(database_path: Path) -> str | None:
    """The process id of whoever holds the lock, "unknown" where it has not said; None where nobody does. Takes nothing away.

    Raises:
        OSError: the lock file cannot be read.
    """
    try:
        opened = _lock_file(database_path).open()
    except FileNotFoundError:
        return None
    with opened as file:
        try:
            # Shared, and for a moment: only a gateway that starts in that very moment would find it taken.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None


def _lock_file(database_path: Path) -> Path:
    return database_path.with_name(database_path.name + ".lock")
