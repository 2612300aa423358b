"""A gateway of one or several processes, its upstream and its callers' receivers, all real and on loopback."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.picture_folder import PictureFolder
from tests.chaos.receiver import Mood, Receiver
from tests.chaos.replica import Log, Replica
from tests.chaos.trouble import Trouble
from tests.chaos.upstream import Upstream, running_upstream
from tests.crash.processes import ADMIN_KEY, SECRET_KEY, UPSTREAM_KEY
from tests.crash.processes import free_port as free_port  # noqa: PLC0414 - handed on to whoever stages something

RECEIVERS = 2
QUEUE_DEADLINE, JOB_DEADLINE = 300.0, 8.0  #: seconds
SUBMIT_ATTEMPTS = 3

SETTINGS = {
    "UPSTREAM_MAX_IN_FLIGHT": "5000",
    "UPSTREAM_SUBMIT_RATE": "200",
    "UPSTREAM_STATUS_RATE": "200",
    "CALLBACK_GRACE": "2s",
    "POLL_MIN": "300ms",
    "POLL_MAX": "1s",
    "QUEUE_DEADLINE": f"{QUEUE_DEADLINE:g}s",
    "SUBMIT_ATTEMPTS": str(SUBMIT_ATTEMPTS),
    "UNCONFIRMED_WAIT": "5s",
    "JOB_DEADLINE": f"{JOB_DEADLINE:g}s",
    "HARD_DEADLINE": "24h",
    "DELIVERY_ALLOW": "127.0.0.1",
    "IMAGE_ALLOW": "127.0.0.1",
    "RETENTION_DAYS": "0",
}


@dataclass
class Stage:
    database_url: str
    directory: Path
    upstream: Upstream
    pictures: PictureFolder
    environment: dict[str, str]
    receivers: list[Receiver]
    replicas: dict[str, Replica] = field(default_factory=dict)
    trouble: Trouble = field(default_factory=lambda: Trouble(began=time.time()))

    @property
    def apis(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.url]

    def add(self, name: str, port: int | None) -> Replica:
        """A process, not started yet; a worker has no port."""
        self.replicas[name] = replica = Replica(name, port, self.environment, self.directory)
        return replica

    def start(self) -> None:
        """Starts all processes at once."""
        with ThreadPoolExecutor() as starters:
            list(starters.map(Replica.start, self.replicas.values()))

    def set_clock(self, replica: Replica, offset: float) -> None:
        """The wall clock of this process jumps; where the database is its own, so does the clock that dates the rows."""
        replica.set_clock(offset)
        if self.is_sqlite:
            self.trouble.clock_is_off_by(offset)

    def end(self) -> None:
        for replica in self.replicas.values():
            replica.end()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database says; committed, where the statement changes something."""
        if self.is_sqlite:
            with closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"), timeout=60)) as file, file:
                return file.execute(statement).fetchall()
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    def log(self) -> list[Log]:
        """Of each process, from the beginning on."""
        return [replica.log() for replica in self.replicas.values()]

    def log_from_now(self) -> list[Log]:
        """Of each process, what it says from now on."""
        logs = self.log()
        for log in logs:
            log.skip()
        return logs

    def calm_down(self) -> None:
        """What the storm changed around the gateway is well again."""
        self.upstream.be_away(None)
        self.upstream.drop_rules()
        for receiver in self.receivers:
            receiver.be(Mood.WELL)


@contextmanager
def staged(database_url: str, directory: Path, seed: int, public_port: int) -> Iterator[Stage]:
    """A stage without processes of the gateway yet; all of them end with the block."""
    pictures = PictureFolder(directory)
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(directory, seed))
        receivers = [Receiver() for _ in range(RECEIVERS)]
        for receiver in receivers:
            stack.callback(receiver.close)
        environment = {
            "GATEWAY_DATABASE_URL": database_url,
            "GATEWAY_UPSTREAM_BASE_URL": upstream.url,
            "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
            "GATEWAY_PUBLIC_BASE_URL": f"http://127.0.0.1:{public_port}",
            "GATEWAY_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_SECRET_KEY": SECRET_KEY,
            "GATEWAY_IMAGE_STORE_URL": f"file://{pictures.path}",
            **{f"GATEWAY_{name}": value for name, value in SETTINGS.items()},
        }
        stage = Stage(database_url, directory, upstream, pictures, environment, receivers)
        stack.callback(stage.end)
        yield stage
