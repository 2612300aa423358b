"""A Redis that the benchmarks start themselves (Debian's package `redis-server`), as whoever means to keep a queue runs it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.benchmarks.servers import free_port, running


@dataclass(frozen=True)
class RedisServer:
    url: str
    pid: int

    def count(self, pattern: str) -> int:
        """How many keys look so."""
        with redis.Redis.from_url(self.url) as client:
            return sum(1 for _ in client.scan_iter(pattern, count=10_000))


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """On a free port, in a directory of its own, with an append-only file that is synced every second.

    Raises RuntimeError: there is no `redis-server`.
    """
    if shutil.which("redis-server") is None:
        raise RuntimeError("redis-server is needed: apt-get install redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        options = {"port": port, "bind": "127.0.0.1", "dir": place, "appendonly": "yes", "appendfsync": "everysec", "save": ""}
        words = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        with running(words, {}, folder) as pid:
            url = f"redis://127.0.0.1:{port}/0"
            _until_it_answers(url)
            yield RedisServer(url, pid)


def _until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 60
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < deadline:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.05)
    raise RuntimeError("Redis did not come up")
