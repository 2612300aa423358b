"""The real command, run in a process of its own, as a script or a person at a terminal would."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEY = "gw_secret_of_the_tests_0123456789"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


async def gateway(
    *arguments: str,
    url: str | None = None,
    key: str | None = KEY,
    given: str = "",
    variables: Mapping[str, str] | None = None,
    **more: Any,
) -> Ended:
    """Runs `gateway …` with output that is no terminal."""
    environment = _environment(url, key) | dict(variables or {})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *arguments, cwd=ROOT, env=environment, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **more,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate(given.encode())
    assert "Traceback" not in err.decode()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def on_a_terminal(
    *arguments: str, url: str | None = None, key: str = KEY, variables: Mapping[str, str] | None = None
) -> Ended:
    """Runs `gateway …` on a terminal of 100 columns; all of its output is in `out`."""
    ours, theirs = pty.openpty()
    environment = _environment(url, key) | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"} | dict(variables or {})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *arguments, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    out = await asyncio.to_thread(_read_all, ours)
    async with asyncio.timeout(60):
        return Ended(await process.wait(), out, "")


def _environment(url: str | None, key: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("GATEWAY_")}
    given = {"GATEWAY_URL": url, "GATEWAY_API_KEY": key}
    return kept | {name: value for name, value in given.items() if value is not None} | {"PYTHONWARNINGS": "error"}


def _read_all(terminal: int) -> str:
    out = b""
    with os.fdopen(terminal, "rb", buffering=0) as file:
        try:
            while chunk := file.read(65536):
                out += chunk
        except OSError:  # Linux says so when the other side is gone
            pass
    return out.decode("utf-8", "replace")
