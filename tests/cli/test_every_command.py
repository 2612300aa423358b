"""What holds of every command, walked through as a person would find them: `--help` of each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from app.cli import cli

ROOT = Path(__file__).parents[2]

#: It prints JSON as it is.
WITHOUT_JSON = {("openapi",)}
HEAVY = (
    "alembic", "app.client", "app.main", "cryptography", "fastapi", "httpx", "jinja2", "obstore", "PIL", "psycopg", "pydantic",
    "pydantic_settings", "sqlalchemy", "starlette", "structlog", "uvicorn",
)  # fmt: skip


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in (group or get_command(cli)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = list(commands())
NAMES = [path for path, _ in ALL]


def test_the_commands_of_the_contract_are_there() -> None:
    promised = {
        ("serve",), ("worker",), ("demo",), ("emulator",), ("doctor",),
        *(("db", name) for name in ("upgrade", "current", "check")),
        *(("keys", name) for name in ("create", "list", "revoke")),
        *(("tenants", name) for name in ("list", "set")),
        *(("jobs", name) for name in ("submit", "list", "show", "watch", "cancel", "retry", "export")),
        *(("dispatch", name) for name in ("status", "pause", "resume")),
        *(("receivers", name) for name in ("list", "resume")),
    }  # fmt: skip
    assert promised <= set(NAMES)


@pytest.mark.parametrize("path", NAMES, ids=" ".join)
def test_help_says_what_it_does_and_shows_an_example(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    said, _, example = shown.output.partition("Examples:")
    assert f"gateway {' '.join(path)}" in example
    assert len(said) > 200


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path in NAMES])
def test_what_prints_data_prints_it_as_json_too(path: tuple[str, ...], command: Any) -> None:
    options = {name for parameter in command.params for name in parameter.opts}
    assert ("--json" in options) is (path not in WITHOUT_JSON)


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path in NAMES])
def test_every_option_says_what_it_is(path: tuple[str, ...], command: Any) -> None:
    assert all(getattr(parameter, "help", None) for parameter in command.params), path


def test_help_of_no_command_loads_what_only_work_needs() -> None:
    """Which is what keeps it quick and off the network."""
    script = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from app.cli import cli\n"
        f"for path in {[[], *map(list, NAMES)]!r}:\n"
        "    assert CliRunner().invoke(cli, [*path, '--help']).exit_code == 0\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
