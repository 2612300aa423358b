"""SQLite is for one process: a lock file beside the database keeps a second one out, and names the first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import AlreadyRunningError


@contextmanager
def only_process(database_path: Path) -> Iterator[None]:
    """Holds the lock while the block runs. The system frees it when the process ends, however it ends.

    Raises:
        AlreadyRunningError: another process holds it; the message names its process id.
    """
    path = database_path.with_name(database_path.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
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
