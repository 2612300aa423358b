"""PgBouncer in transaction mode, on a free loopback port, in front of a PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg
from sqlalchemy import URL, make_url

from tests.crash.processes import wait_for

_NEEDED = "the long tests need PgBouncer: install Debian's package pgbouncer, or put the binary on PATH"
SERVER_CONNECTIONS = 5  #: far fewer than its clients hold, so that transactions of strangers share them

_CONFIGURATION = """
[databases]
{name} = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {server_connections}
max_client_conn = 500
"""


@contextmanager
def running_pgbouncer(database_url: str) -> Iterator[str]:
    """A PgBouncer in front of this database; yields the URL that goes through it.

    Raises RuntimeError when there is no PgBouncer.
    """
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise RuntimeError(_NEEDED)
    server, listen_port = make_url(database_url), _free_port()
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # it refuses to run as root
    with ExitStack() as files:
        directory = files.enter_context(tempfile.TemporaryDirectory(prefix="gateway-pgbouncer-"))
        file = Path(directory) / "pgbouncer.ini"
        file.write_text(_configuration(server, listen_port))
        as_owner: dict[str, Any] = {}
        if owner is not None:
            for path in (file.parent, file):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        log = files.enter_context(tempfile.TemporaryFile("w+"))
        child = subprocess.Popen(
            [binary, "--quiet", file], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            **as_owner,
        )  # fmt: skip
        try:
            url = server.set(host="127.0.0.1", port=listen_port).render_as_string(hide_password=False)
            wait_for(lambda: _answers(url, child, log))
            yield url
        finally:
            child.kill()
            child.wait()


def _configuration(server: URL, listen_port: int) -> str:
    parts = {"host": server.host, "port": server.port or 5432, "dbname": server.database, "user": server.username}
    if server.password:
        parts["password"] = f"'{server.password}'"
    told = " ".join(f"{name}={value}" for name, value in parts.items())
    return _CONFIGURATION.format(
        name=server.database, server=told, listen_port=listen_port, server_connections=SERVER_CONNECTIONS
    )


def _answers(url: str, child: subprocess.Popen[bytes], log: IO[str]) -> bool:
    if child.poll() is not None:
        log.seek(0)
        raise RuntimeError(f"PgBouncer ended at its start:\n{log.read()}")
    try:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
