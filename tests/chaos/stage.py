"""A gateway of one or several processes, its upstream and its callers' receivers, all real and on loopback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.picture_folder import PictureFolder
from tests.chaos.receiver import Mood, Receiver
from tests.chaos.replica import Replica
from tests.chaos.upstream import Upstream, running_upstream
from tests.crash.processes import ADMIN_KEY, SECRET_KEY, UPSTREAM_KEY, _free_port

RECEIVERS = 2

SETTINGS = {
    "UPSTREAM_MAX_IN_FLIGHT": "5000",
    "UPSTREAM_SUBMIT_RATE": "200",
    "UPSTREAM_STATUS_RATE": "200",
    "CALLBACK_GRACE": "2s",
    "POLL_MIN": "300ms",
    "POLL_MAX": "1s",
    "QUEUE_DEADLINE": "5m",
    "SUBMIT_ATTEMPTS": "3",
    "UNCONFIRMED_WAIT": "5s",
    "JOB_DEADLINE": "8s",
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

    @property
    def apis(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.url]

    def add(self, name: str, port: int | None) -> Replica:
        """A process, not started yet; a worker has no port."""
        self.replicas[name] = replica = Replica(name, port, self.environment, self.directory)
        return replica

    def start(self, **clock_offsets: float) -> None:
        """Starts all processes at once; of those that are named, the wall clock is off by so many seconds."""
        with ThreadPoolExecutor() as starters:
            offsets = {name: clock_offsets.get(name, 0) for name in self.replicas}
            list(starters.map(lambda name: self.replicas[name].start(clock_offset=offsets[name]), offsets))

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

    def log(self) -> Iterator[dict[str, Any]]:
        """Of all processes, one after the other."""
        for replica in list(self.replicas.values()):
            yield from replica.log()

    def calm_down(self) -> None:
        """What the storm changed around the gateway is well again."""
        self.upstream.be_away(None)
        self.upstream.drop_rules()
        for receiver in self.receivers:
            receiver.be(Mood.WELL)


@contextmanager
def staged(database_url: str, directory: Path, seed: int, public_port: int, **settings: str) -> Iterator[Stage]:
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
            **{f"GATEWAY_{name}": value for name, value in {**SETTINGS, **settings}.items()},
        }
        stage = Stage(database_url, directory, upstream, pictures, environment, receivers)
        stack.callback(stage.end)
        yield stage


def free_port() -> int:
    return _free_port()
