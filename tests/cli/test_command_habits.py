"""How commands behave at a terminal, in a pipe, and when they are interrupted."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.exits import PIPE_CLOSED
from tests.client.command import KEY, ROOT, on_a_terminal
from tests.client.stand_in import HANG, JOB_ID, answer, chunked, job, standing_in
from tests.client.test_client_calls import DISPATCH
from tests.client.test_client_streams import LINES, NDJSON, SSE, event

COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-79]|4[0-79]|9[0-7]|10[0-7])m")
LIST = answer({"jobs": [job("failed"), job("running")], "next_cursor": None, "has_more": False})
PROGRAM = Path(sys.executable).with_name("gateway")


def environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("GATEWAY_")}
    return kept | {"GATEWAY_URL": url, "GATEWAY_API_KEY": KEY, "PYTHONWARNINGS": "error"}


async def test_colours_are_for_terminals_that_want_them() -> None:
    async with standing_in(LIST, LIST, DISPATCH) as server:
        coloured = await on_a_terminal("jobs", "list", url=server.url)
        plain = await on_a_terminal("jobs", "list", url=server.url, variables={"NO_COLOR": "1"})
        dispatch = await on_a_terminal("dispatch", "status", url=server.url)
    assert COLOUR.search(coloured.out)
    assert COLOUR.search(dispatch.out)
    assert not COLOUR.search(plain.out)
    assert "failed" in plain.out


@pytest.mark.parametrize(
    "arguments", [["jobs", "export"], ["jobs", "list"], ["jobs", "list", "--json"], ["--help"]], ids=" ".join
)
async def test_a_reader_that_has_seen_enough_is_no_error(arguments: list[str]) -> None:
    script = chunked(*LINES, content_type=NDJSON) if "export" in arguments else LIST
    async with standing_in(script) as server:
        reading, writing = os.pipe()
        os.close(reading)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", *arguments, cwd=ROOT, env=environment(server.url), stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        os.close(writing)
        _, said = await process.communicate()
    assert said == b""
    assert process.returncode in ((1, PIPE_CLOSED) if arguments == ["--help"] else (PIPE_CLOSED,))


async def test_an_interrupt_ends_quietly_with_130() -> None:
    script = [answer(job("running")), chunked(event(1, "accepted"), content_type=SSE, end=False) + HANG]
    async with standing_in(*script) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "jobs", "watch", JOB_ID, cwd=ROOT, env=environment(server.url),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, preexec_fn=_as_from_a_terminal,
        )  # fmt: skip
        assert process.stdout is not None
        assert b"accepted" in await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, said = await process.communicate()
    assert (process.returncode, rest, said) == (128 + signal.SIGINT, b"", b"")


def _as_from_a_terminal() -> None:
    """What runs in the background of a shell, these tests perhaps, ignores interrupts, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# --- completion ---


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("gateway jo", {"jobs"}),
        ("gateway jobs ", {"submit", "list", "show", "watch", "cancel", "retry", "export"}),
        ("gateway jobs list --state f", {"failed"}),
        ("gateway jobs list --completed-via p", {"poll"}),
        ("gateway jobs submit fox --format w", {"webp"}),
    ],
)
def test_a_shell_completes_commands_and_values(typed: str, offered: set[str]) -> None:
    words = typed.split(" ")
    asked = {"_GATEWAY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [PROGRAM], cwd=ROOT, env=environment("http://127.0.0.1:9") | asked, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == offered


def test_the_completion_can_be_shown_for_the_shell_that_asks() -> None:
    asked = ["bash", "-c", f"'{PROGRAM}' --show-completion; true"]
    done = subprocess.run(asked, cwd=ROOT, env=environment("http://127.0.0.1:9"), capture_output=True, text=True, check=True)
    assert "_GATEWAY_COMPLETE=complete_bash" in done.stdout
