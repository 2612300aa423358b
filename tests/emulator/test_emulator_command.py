"""``gateway emulator`` as a process."""

import asyncio
import json
import signal
import socket
import sys

import httpx
import pytest
import typer
from typer.testing import CliRunner

from app.cli.emulator import emulator

PROGRAM = "import typer; from app.cli.emulator import emulator; typer.run(emulator)"


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(emulator)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fault", "no-such-fault"),
        ("--fault", "callback-lost=2"),
        ("--key", "sk-demo=many"),
        ("--key", "=5"),
        ("--run-seconds", "soon"),
        ("--run-seconds", "3-1"),
        ("--run-seconds", "1.2.3"),
        ("--port", "70000"),
        ("--callback-delay", "-1"),
    ],
)
def test_a_bad_option_exits_with_2(arguments: tuple[str, str]) -> None:
    code, _ = run(*arguments)
    assert code == 2


def test_an_unknown_fault_is_named() -> None:
    _, output = run("--fault", "callback-lots=0.1")
    assert "callback-lots" in output


def test_a_port_taken_exits_with_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, output = run("--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "cannot listen" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_tells_its_address_serves_and_leaves_politely(number: signal.Signals) -> None:
    arguments = ("--port", "0", "--json", "--key", "sk-demo=7", "--key", "sk-more")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *arguments, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        assert ready["keys"] == ["sk-demo", "sk-more"]
        assert (await process.stderr.readline()).decode().strip() == f"emulator ready at {ready['url']}"
        async with httpx.AsyncClient(base_url=ready["url"], trust_env=False) as client:
            keys = (await client.get("/control/account")).json()["keys"]
        assert [books["credits_left"] for books in keys.values()] == [7, 100_000]
    finally:
        process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert await process.stderr.read() == b""
