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

from tests.benchmarks import process_tree

KEY = "gw_bench_key_0123456789abcdef0123456789"
ITSELF = "the gateway itself"
ENDS = 60  #: seconds that a process is given for its end


@dataclass(frozen=True)
class Server:
    url: str
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Of all its processes and what they started, since they began."""
        return process_tree.cpu_seconds(self.pids)

    def cores(self, seconds: float) -> float:
        """How much of one core it uses, over that time from now on."""
        before, began = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - began)

    def resident_mib(self) -> float:
        return process_tree.resident_mib(self.pids)

    def peak_mib(self) -> float:
        """The most that its processes ever held, or have held since `forget_peak`."""
        return process_tree.peak_mib(self.pids)

    def forget_peak(self) -> None:
        process_tree.forget_peaks(self.pids)


@contextmanager
def gateway(database_url: str, folder: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """`gateway serve`, one process. A setting that is `ITSELF` becomes its own address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_AUTO_MIGRATE": "true",
        "GATEWAY_UPSTREAM_BASE_URL": "http://127.0.0.1:9",
        "GATEWAY_UPSTREAM_API_KEY": "sk-bench",
        "GATEWAY_SECRET_KEY": "bench-secret-key-of-32-characters-or-more",
        "GATEWAY_BOOTSTRAP_ADMIN_KEY": KEY,
        "GATEWAY_IMAGE_STORE_URL": "off",
        "GATEWAY_LOG_FORMAT": "json",
        **{name: url if value == ITSELF else value for name, value in settings.items()},
    }
    with running([sys.executable, "-m", "app", "serve", "--port", str(port), *arguments], environment, folder) as pid:
        yield ready(url, "/healthz", pid)


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
            _end(child)
            log.seek(0)
            if child.returncode not in (0, -signal.SIGTERM):
                print(log.read().decode()[-3000:], file=sys.stderr)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Asks it to end; one that does not is killed, and said to be."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(ENDS)
    except subprocess.TimeoutExpired:
        print(f"process {child.pid} did not end within {ENDS} s, and was killed", file=sys.stderr)
        child.kill()
        child.wait()


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
