"""A real S3-compatible server on loopback, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


@contextmanager
def running_s3() -> Iterator[str]:
    """The server's address, from when it says that it listens until the end of the block."""
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        said = next((found for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
        assert said is not None, "the S3 server ended before it listened"
        threading.Thread(target=deque, args=(server.stderr, 0), daemon=True).start()  # a full pipe would stop it
        yield said[0]
    finally:
        server.kill()
        server.wait()


def make_bucket(endpoint: str, bucket: str) -> None:
    httpx.put(f"{endpoint}/{bucket}", trust_env=False).raise_for_status()
