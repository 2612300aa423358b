"""Servers under load: started, looked at from outside, and ended."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

KEY = "gw_bench_key_0123456789abcdef0123456789"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    url: str
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Of all its processes, since they began."""
        return sum(_cpu(pid) for pid in self.pids)

    def cores(self, seconds: float) -> float:
        """How much of one core it uses, over that time from now on."""
        before, began = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - began)

    def resident_mib(self) -> float:
        return sum(_resident(pid) for pid in self.pids) / 2**20


@contextmanager
def gateway(database_url: str, folder: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """`gateway serve`, one process."""
    port = free_port()
    environment = {
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_AUTO_MIGRATE": "true",
        "GATEWAY_UPSTREAM_BASE_URL": "http://127.0.0.1:9",
        "GATEWAY_UPSTREAM_API_KEY": "sk-bench",
        "GATEWAY_SECRET_KEY": "bench-secret-key-of-32-characters-or-more",
        "GATEWAY_BOOTSTRAP_ADMIN_KEY": KEY,
        "GATEWAY_IMAGE_STORE_URL": "off",
        "GATEWAY_LOG_FORMAT": "json",
        **settings,
    }
    with running([sys.executable, "-m", "app", "serve", "--port", str(port), *arguments], environment, folder) as pid:
        yield ready(f"http://127.0.0.1:{port}", "/healthz", pid)


@contextmanager
def baseline(module: str, folder: Path, **environment: str) -> Iterator[Server]:
    """One of the baselines under uvicorn, one process, without its access log."""
    port = free_port()
    words = [sys.executable, "-m", "uvicorn", f"tests.benchmarks.baselines.{module}:app", "--port", str(port)]
    words += ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    with running(words, {"BENCH_KEY": KEY, **environment}, folder) as pid:
        yield ready(f"http://127.0.0.1:{port}", "/docs", pid)


@contextmanager
def running(words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    with tempfile.TemporaryFile(dir=folder) as log:
        child = subprocess.Popen(words, env={**clean, **environment}, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield child.pid
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(60)
            log.seek(0)
            if child.returncode not in (0, -signal.SIGTERM):
                print(log.read().decode()[-3000:], file=sys.stderr)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def ready(url: str, path: str, *pids: int) -> Server:
    """The server at `url`, once it answers `path`.

    Raises RuntimeError: it does not.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if _answers(url, path):
            return Server(url, pids)
        time.sleep(0.01)
    raise RuntimeError(f"{url} did not come up")


def _answers(url: str, path: str) -> bool:
    """Asked in the cheapest way: what starts has the processor to itself."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
