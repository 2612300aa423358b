"""The image with traces has what the usual one has, and the extra beside it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_locks_agree_and_the_larger_one_has_the_extra() -> None:
    usual, traced, development = (pins(f"requirements{which}.lock") for which in ("", "-traces", "-dev"))
    assert usual.items() <= traced.items() <= development.items()
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["traces"]
    assert {requirement.partition(">=")[0] for requirement in extra} <= traced.keys() - usual.keys()


def test_the_image_can_be_built_with_either_lock() -> None:
    dockerfile, kept = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text().split()
    assert "ARG LOCK=requirements.lock\n" in dockerfile
    assert {"!requirements.lock", "!requirements-traces.lock"} <= set(kept)
