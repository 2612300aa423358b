"""The import contracts in pyproject.toml forget no module: a new one is named in each, or excused here."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

#: By how a contract's name begins: where it lists modules, and those of the top level that it rightly leaves out.
EXCUSED: dict[str, tuple[str, set[str]]] = {
    "Imports run one way": ("layers", {"emulator"}),
    "Only storage knows SQLAlchemy": ("source_modules", {"storage"}),
    "Only upstream speaks": (
        "source_modules", {"client", "demo", "doctor", "emulator", "gateway", "outbound", "upstream"}
    ),
    "The framework only at the edges": (
        "source_modules",
        {
            "access", "answers", "audit", "bodies", "callbacks", "cli", "console", "deliveries", "dispatch", "drop_in",
            "emulator", "health", "idempotency", "images", "jobs", "main", "openapi", "operations", "own_job",
            "plain_route", "problems", "request_log", "stats", "usage",
        },
    ),
    "The emulator shares no code": ("forbidden_modules", {"emulator"}),
    "Nothing imports what wires it": ("source_modules", {"__main__", "cli", "duties", "gateway", "main", "opening"}),
    "The client is for other services": ("forbidden_modules", {"client", "deliveries", "retry_after"}),
}  # fmt: skip


def top_level() -> set[str]:
    paths = (ROOT / "app").iterdir()
    found = {path.stem for path in paths if path.suffix == ".py" or (path / "__init__.py").exists()}
    return found - {"__init__"}


def contract(beginning: str) -> dict[str, Any]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [found] = [each for each in contracts if each["name"].startswith(beginning)]
    return dict(found)


@pytest.mark.parametrize("beginning", EXCUSED)
def test_every_module_is_named_or_excused(beginning: str) -> None:
    key, excused = EXCUSED[beginning]
    named = {name.strip().removeprefix("app.") for entry in contract(beginning)[key] for name in entry.split("|")}
    assert named == top_level() - excused


def test_the_rest_hold_for_all_of_the_app_or_for_one_package() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    others = [each for each in contracts if not each["name"].startswith(tuple(EXCUSED))]
    assert sorted(each["source_modules"] for each in others) == [["app"], ["app.lifecycle"]]
