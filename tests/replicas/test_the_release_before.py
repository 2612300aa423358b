"""The release before goes on working on the schema of this one: upgrades and ways back need no standstill.

Its wheel is kept beside this file; what it needs is what this code needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.utils import parse_wheel_filename

import app
from app.storage import schema
from tests.crash.processes import running
from tests.replicas.deployment import check_the_books, deployed

RELEASES = Path(__file__).parent / "releases"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The code of the last release, unpacked."""
    folder = tmp_path / "release"
    last = newest(RELEASES.glob("*.whl"))
    with ZipFile(last) as wheel:
        wheel.extractall(folder)
    said = subprocess.run(
        [sys.executable, "-c", "import app, app.main; print(app.__version__)"],
        env={**os.environ, "PYTHONPATH": str(folder)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == last.name.split("-")[1] != app.__version__
    return folder


def newest(wheels: Iterable[Path]) -> Path:
    return max(wheels, key=lambda wheel: parse_wheel_filename(wheel.name)[1])


def test_the_newest_wheel_is_that_of_the_highest_version() -> None:
    names = [f"qwen_image_gateway-{version}-py3-none-any.whl" for version in ("0.9.0", "0.10.0", "0.10.0rc1", "0.2.0")]
    assert newest(map(Path, names)) == Path(names[1])


async def test_both_releases_work_side_by_side_on_the_new_schema(postgres_url: str, tmp_path: Path, release: Path) -> None:
    async with deployed(postgres_url, tmp_path) as here:
        await here.start(apis=1, workers=1)
        await here.start(apis=1, workers=1, code=release)
        accepted = await here.accept(f"bridge {n}" for n in range(60))
        accepted += await here.accept_until("one more bridge", lambda: here.have_claimed(2))
        await here.until_settled()
        jobs = await check_the_books(here, accepted)
        assert {job["state"] for job in jobs} == {"succeeded"}
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
