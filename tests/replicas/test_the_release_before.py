"""The release before goes on working on the schema of this one: upgrades and ways back need no standstill.

Its wheel is kept beside this file; what it needs is what this code needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import app
from app.storage import schema
from tests.crash.processes import running
from tests.replicas.deployment import check_the_books, deployed

WHEELS = sorted((Path(__file__).parent / "releases").glob("*.whl"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The code of the last release, unpacked."""
    folder = tmp_path / "release"
    with ZipFile(WHEELS[-1]) as wheel:
        wheel.extractall(folder)
    said = subprocess.run(
        [sys.executable, "-c", "import app, app.main; print(app.__version__)"],
        env={**os.environ, "PYTHONPATH": str(folder)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == WHEELS[-1].name.split("-")[1] != app.__version__
    return folder


async def test_both_releases_work_side_by_side_on_the_new_schema(postgres_url: str, tmp_path: Path, release: Path) -> None:
    async with deployed(postgres_url, tmp_path) as here:
        await here.start(apis=1, workers=1)
        await here.start(apis=1, workers=1, code=release)
        accepted = await here.accept(f"bridge {n}" for n in range(60))
        await here.until_settled()
        jobs = await check_the_books(here, accepted)
        assert {job["state"] for job in jobs} == {"succeeded"}
        assert len([of_one for of_one in here.claimed() if of_one]) == 2, "a release had nothing to do"
        assert here.complaints() == []


async def test_the_release_before_starts_alone_on_the_new_schema(postgres_url: str, tmp_path: Path, release: Path) -> None:
    async with deployed(postgres_url, tmp_path) as here:
        await here.start(apis=1, workers=1, code=release)
        accepted = await here.accept(f"way back {n}" for n in range(10))
        await here.until_settled()
        assert {job["state"] for job in await check_the_books(here, accepted)} == {"succeeded"}


async def test_on_sqlite_the_release_before_takes_over_the_file(sqlite_url: str, tmp_path: Path, release: Path) -> None:
    async with deployed(sqlite_url, tmp_path) as here:
        (database,) = tmp_path.glob("gateway.db")
        environment = {**here.environment, "PYTHONPATH": str(release)}
        with running(["-m", "app", "serve", "--port", "0"], environment, tmp_path) as process:
            here.door.behind.append(process.said(process.stderr, "gateway: listening on ").split()[3])
            accepted = await here.accept(f"way back {n}" for n in range(5))
            await here.until_settled()
            assert {job["state"] for job in await check_the_books(here, accepted)} == {"succeeded"}
        with running(["-m", "app", "db", "current"], here.environment, tmp_path) as process:
            assert process.ended() == 0
            assert process.stdout == [f"current {schema.newest()}\n"]
        assert database.exists()
