"""Docs that cannot lie: what they name exists, and what exists is named."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined
from typer.main import get_command

from app.cli import cli
from app.config import Settings
from app.lifecycle.gate import Shut
from app.lifecycle.states import ErrorCode, JobState
from app.problem_codes import CODES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def settings_in_the_readme() -> dict[str, str]:
    return dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", README, re.MULTILINE))


def test_the_readme_lists_every_setting_and_no_other() -> None:
    assert set(settings_in_the_readme()) == {name.upper() for name in Settings.model_fields}


def test_the_readme_tells_every_default() -> None:
    told = settings_in_the_readme()
    for name, field in Settings.model_fields.items():
        assert field.default is not PydanticUndefined
        if field.default is not None:
            assert shown(field.default) in told[name.upper()], name


def test_the_example_of_the_environment_lists_every_setting_with_its_default() -> None:
    lines = dict(re.findall(r"^#?(GATEWAY_[A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert lines == {
        f"GATEWAY_{name.upper()}": "" if field.default is None else shown(field.default)
        for name, field in Settings.model_fields.items()
    }


def test_every_state_and_error_code_is_explained() -> None:
    lifecycle = (ROOT / "docs/lifecycle.md").read_text()
    for state in JobState:
        assert f"`{state}`" in lifecycle
    errors = (ROOT / "docs/errors.md").read_text()
    for word in [*ErrorCode, *Shut]:
        assert f"`{word}`" in errors


def test_every_code_of_an_api_error_is_explained() -> None:
    errors = (ROOT / "docs/errors.md").read_text()
    text = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    named = set(re.findall(r'Problem\.of\(\s*"([a-z_]+)"', text))
    assert len(named) > 8
    spelled = {(int(status), name) for status, name in re.findall(r'Problem\(\s*(\d{3}),\s*"([a-z_]+)"', text)}
    for status, name in {(CODES[name][0], name) for name in named} | spelled:
        assert CODES[name][0] == status, name
        assert re.search(rf"^\| {status} \| `{name}` \|", errors, re.MULTILINE), (status, name)


def test_commands_that_the_docs_name_exist() -> None:
    commands = get_command(cli).commands  # type: ignore[attr-defined]
    text = README + "".join(p.read_text() for p in (ROOT / "docs").rglob("*.md"))
    named = set(re.findall(r"`gateway ([a-z]+)", text))
    assert named >= {"serve", "demo", "emulator", "db"}
    assert named <= set(commands)


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        assert link.startswith("https://") or (path.parent / link).exists(), link


def test_tests_that_the_docs_name_exist() -> None:
    text = "".join(p.read_text() for p in (ROOT / "docs").rglob("*.md"))
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text))
    assert len(named) > 30
    for path, test in sorted(named):
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


def test_make_targets_that_the_docs_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= targets


def shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, timedelta):
        seconds = int(default.total_seconds())
        for unit, size in (("h", 3600), ("m", 60)):
            if seconds % size == 0 and (seconds > 60 or size == 3600) and seconds // size:
                return f"{seconds // size}{unit}"
        return f"{seconds}s"
    return str(default)
