"""Work on the database that the settings name, without a gateway: beside a running one, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from app.storage.database import Database

Result = TypeVar("Result")


def with_database(work: Callable[[Database], Awaitable[Result]], *, of_any_schema: bool = False) -> Result:
    """Does the work, and closes the database.

    On SQLite this asks for no lock: it keeps a second gateway off, and a small write beside the one that runs does no harm.

    Args:
        of_any_schema: also where the schema is not the one that this version needs.

    Raises:
        SettingsError: a setting is bad.
        SchemaError: the schema is not the one that this version needs.
        StorageUnavailableError: the database is out of reach.
    """
    import asyncio

    from app import config, log
    from app.errors import SchemaError
    from app.storage import schema
    from app.storage.database import Database, database_url

    settings = config.load()
    log.configure(settings.log_format)  # else it would stand among the data

    async def run() -> Result:
        database = Database(database_url(settings.database_url))
        try:
            if not of_any_schema and (why := await schema.unfit(database)):
                raise SchemaError(why)
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())
