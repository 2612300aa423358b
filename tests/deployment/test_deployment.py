"""The container's recipe, proven without an engine: what it names exists, and its steps work in an empty environment."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import make_url
from typer.main import get_command

from app.cli import cli
from app.config import Settings, load
from app.storage.database import database_url
from tests.databases import OpenDatabase

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def services() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from COMPOSE["services"].items()


def test_every_variable_is_a_known_setting() -> None:
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\b(GATEWAY_[A-Z_]+)", DOCKERFILE + (ROOT / "docker-compose.yml").read_text()))
    assert named
    assert named <= known


def test_every_command_exists_with_its_options() -> None:
    commands = [service["command"] for _, service in services() if "command" in service]
    commands.append(json.loads(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1]))
    assert len(commands) >= 5
    for words in commands:
        command = get_command(cli)
        for word in itertools.takewhile(lambda w: not w.startswith("-"), words):
            command = command.commands[word]  # type: ignore[attr-defined]
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        assert {w for w in words if w.startswith("--")} <= options


def test_the_container_has_the_python_of_the_tests() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert set(re.findall(r"^FROM python:([0-9.]+)-", DOCKERFILE, re.MULTILINE)) == {here}
    assert set(re.findall(r"--python-version ([0-9.]+)", (ROOT / "Makefile").read_text())) == {here}


def test_there_is_no_default_secret() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "GATEWAY_UPSTREAM_API_KEY", "GATEWAY_BOOTSTRAP_ADMIN_KEY", "GATEWAY_SECRET_KEY"):
        uses = re.findall(r"\$\{" + name + r"(.)(.)", text)
        assert uses
        assert set(uses) == {(":", "?")}, name


@pytest.mark.parametrize("password", ["p@ss", "a/b:c%d", "100%41", "#?&=+ \\ ' \"", "пароль"])
async def test_any_password_reaches_postgresql_as_it_is(
    password: str, postgres_url: str, open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the compose file hands over, with the server of the tests in the place of its own."""
    environment = COMPOSE["services"]["api"]["environment"]
    assert environment["PGPASSWORD"] == "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
    monkeypatch.setenv("GATEWAY_DATABASE_URL", environment["GATEWAY_DATABASE_URL"])
    monkeypatch.setenv("PGPASSWORD", password)
    ours, theirs = database_url(load().database_url), make_url(postgres_url)
    here = ours.set(host=theirs.host, port=theirs.port, username=theirs.username, database=theirs.database)
    database = open_database(here.render_as_string(hide_password=False))
    async with database.reading() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        assert raw.info.password == password


def test_the_migration_comes_before_everything_that_needs_it() -> None:
    for name in ("api", "worker"):
        assert COMPOSE["services"][name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert COMPOSE["services"]["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_services_run_without_privileges_on_a_read_only_root() -> None:
    ours = {name: service for name, service in services() if service["image"] == "qwen-image-gateway"}
    assert set(ours) == {"migrate", "api", "worker", "emulator"}
    for service in ours.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert re.search(r"^USER \d+:\d+$", DOCKERFILE, re.MULTILINE)


def test_the_emulator_gets_nothing_of_the_gateways() -> None:
    emulator = COMPOSE["services"]["emulator"]
    assert (emulator["env_file"], emulator["environment"], emulator["volumes"]) == ([], {}, [])


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment into which the pinned dependencies and the built wheel were installed; its folder."""
    home = tmp_path_factory.mktemp("installed")
    source = home / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.lock"):
        shutil.copy(ROOT / name, source)
    for name in ("app", "migrations"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "venv", str(home / "venv"))
    pip = [str(home / "venv/bin/pip"), "--disable-pip-version-check", "--quiet"]
    run(*pip, "install", "--require-hashes", "-r", str(source / "requirements.lock"))
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(home / "dist"), str(source))
    [wheel] = (home / "dist").glob("*.whl")
    run(*pip, "install", "--no-deps", str(wheel))
    shutil.rmtree(source)
    return home


@pytest.mark.timeout(400)
def test_the_wheel_holds_all_that_it_needs(installed: Path, tmp_path: Path) -> None:
    gateway = str(installed / "venv/bin/gateway")
    environment = {"GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'gateway.db'}"}
    assert "serve" in run(gateway, "--help", cwd=tmp_path)
    run(gateway, "db", "upgrade", cwd=tmp_path, **environment)
    found = json.loads(run(gateway, "db", "check", "--json", cwd=tmp_path, **environment))
    assert found["current"] == found["needed"]
    with sqlite3.connect(tmp_path / "gateway.db") as database:
        assert database.execute("SELECT count(*) FROM gate").fetchone() == (1,)
    look = "from app.console import assets, page; print(sorted(assets.assets()), sorted(page.templates.list_templates()))"
    pages = run(str(installed / "venv/bin/python"), "-c", look, cwd=tmp_path)
    assert all(name in pages for name in ("console.css", "vendor/htmx", "base.html", "overview.html"))


@pytest.mark.timeout(400)
def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    said = json.loads(run(str(installed / "venv/bin/gateway"), "demo", "--jobs", "2", "--json", cwd=tmp_path))
    assert said["ok"] is True
    assert len(list((tmp_path / "data/demo/pictures").iterdir())) == 2


def run(*words: str, cwd: Path | None = None, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    done = subprocess.run(words, cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
