"""Load by wrk (Debian's package `wrk`): posts jobs over kept connections, each with a prompt of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %(key)s"
function request()
  n = n + 1
  local body = string.format('{"prompt": "A red fox in the snow, number %%d", "metadata": {"order": "%%d"}}', n, n)
  return wrk.format(nil, "/jobs", nil, body)
end
function done(summary, latency, requests)
  io.write(string.format('{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "refused": %%d, "broken": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What the callers saw."""

    per_second: float
    p50: float  #: milliseconds
    p99: float  #: milliseconds


def post_jobs(url: str, key: str, *, connections: int, seconds: int) -> Load:
    """Raises RuntimeError: wrk is not there, or an answer was no 2xx."""
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is needed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(_SCRIPT % {"key": key})
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = json.loads(told.strip().splitlines()[-1])
    if found["refused"] or found["broken"]:
        raise RuntimeError(f"not every job was accepted: {found}")
    return Load(found["requests"] / found["seconds"], found["p50"], found["p99"])
