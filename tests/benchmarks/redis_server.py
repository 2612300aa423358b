"""A Redis that the benchmarks start themselves (Debian's package `redis-server`), as whoever means to keep a queue runs it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.benchmarks.servers import free_port, running


@dataclass(frozen=True)
class RedisServer:
    """One that runs."""

    url: str
    pid: int
    client: redis.Redis = field(repr=False)  #: kept open: a look is to cost the server next to nothing

    def keys(self) -> int:
        """How many there are; the server knows it without looking at them."""
        return int(self.client.dbsize())

    def count(self, pattern: str) -> int:
        """How many keys look so; the server looks at all of them."""
        return sum(1 for _ in self.client.scan_iter(pattern, count=10_000))


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
        url = f"redis://127.0.0.1:{port}/0"
        with running(words, {}, folder) as pid, redis.Redis.from_url(url) as client:
            _until_it_answers(client)
            yield RedisServer(url, pid, client)


def _until_it_answers(client: redis.Redis) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.05)
    raise RuntimeError("Redis did not come up")
