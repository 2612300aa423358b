"""Load by wrk (Debian's package `wrk`): jobs, each with a prompt of its own, or callbacks, each with a token of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_JOBS = """
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %(key)s"
function request()
  n = n + 1
  local body = string.format('{"prompt": "A red fox in the snow, number %%d", "metadata": {"order": "%%d"}}', n, n)
  return wrk.format(nil, "/jobs", nil, body)
end
"""
_CALLBACKS = """
local n = %(first)d
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  local body = string.format('{"code": 200, "data": {"task_id": "%(task)s%%d", "status": "SUCCESS"}}', n)
  local path = string.format("/callbacks/%(token)s%%d", n)
  n = (n + 1) %% %(count)d
  return wrk.format(nil, path, nil, body)
end
"""
_DONE = """
function done(summary, latency, requests)
  io.write(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, "broken": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What the callers saw."""

    requests: int  #: answered
    seconds: float
    p50: float  #: milliseconds
    p99: float  #: milliseconds

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def post_jobs(url: str, key: str, *, connections: int, seconds: int) -> Load:
    """Raises RuntimeError: wrk is not there, or an answer was no 2xx."""
    return _load(_JOBS % {"key": key}, url, connections, seconds)


def post_callbacks(url: str, token: str, task: str, *, first: int, count: int, connections: int, seconds: int) -> Load:
    """Those of the tasks and tokens that begin so and end in a number below `count`, from `first` on, in turn.

    Raises RuntimeError: as `post_jobs`.
    """
    script = _CALLBACKS % {"token": token, "task": task, "first": first, "count": count}
    return _load(script, url, connections, seconds)


def _load(requests: str, url: str, connections: int, seconds: int) -> Load:
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is needed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(requests + _DONE)
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = json.loads(told.strip().splitlines()[-1])
    if found["refused"] or found["broken"]:
        raise RuntimeError(f"not everything was accepted: {found}")
    return Load(found["requests"], found["seconds"], found["p50"], found["p99"])
