"""Can the database be reached, read and written?"""

from __future__ import annotations

import os
from pathlib import Path

from app.doctor.finding import Finding, ok, warning, wrong
from app.errors import StorageUnavailableError
from app.exits import OUT_OF_REACH
from app.storage.database import Database
from app.storage.process_lock import holder

CHECK = "database"


async def look_at_database(database: Database) -> Finding:
    """Changes nothing, also beside a gateway that runs on the same file."""
    if database.is_sqlite and (finding := _look_at_file(database.path)) is not None:
        return finding
    try:
        await database.ping()
    except StorageUnavailableError as error:
        todo = "start it, or correct GATEWAY_DATABASE_URL; jobs are refused (503) until it is back, and none is lost"
        return wrong(CHECK, f"{_place(database)}: {error}", todo, OUT_OF_REACH)
    return ok(CHECK, _place(database) + (f", {_used_by(database.path)}" if database.is_sqlite else ""))


def _look_at_file(path: Path) -> Finding | None:
    """What keeps a SQLite file from being used; None where nothing does."""
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a folder may not be looked into
        folder = next(folder for folder in path.absolute().parents if os.path.exists(folder))  # noqa: PTH110
        if not folder.is_dir() or not _may(folder, os.W_OK | os.X_OK):
            return _unwritable(folder)
        return warning(CHECK, f"there is none yet at {path}", "nothing, before the first `gateway serve`, which makes it")
    closed = [place for place in (path, path.absolute().parent) if not _may(place, os.R_OK | os.W_OK)]
    return _unwritable(closed[0]) if closed else None


def _unwritable(place: Path) -> Finding:
    return wrong(CHECK, f"{place} cannot be written", f"give the gateway's user the right to write {place}", OUT_OF_REACH)


def _may(place: Path, mode: int) -> bool:
    return os.access(place, mode, effective_ids=os.access in os.supports_effective_ids)


def _used_by(path: Path) -> str:
    process = holder(path)
    return f"in use by process {process}" if process else "in use by no gateway"


def _place(database: Database) -> str:
    if database.is_sqlite:
        return f"SQLite, {database.path}"
    url = database.url
    return f"PostgreSQL, {url.database} at {url.host or 'the local socket'}" + (f":{url.port}" if url.port else "")
