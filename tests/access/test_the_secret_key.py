"""GATEWAY_SECRET_KEY at the start: required, made, exchanged, lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.errors import SettingsError
from app.opening import open_gateway
from tests.acceptance.stage import open_stage, settings_for

OLD, NEW = "o" * 32, "n" * 32


async def start(database_url: str, **changes: Any) -> None:
    async with open_gateway(settings_for(database_url, **changes), with_duties=False):
        pass


async def secret(database_url: str, **changes: Any) -> str:
    """The delivery secret of the tenant admin, as a gateway with these settings tells it."""
    async with open_stage(database_url, **changes) as stage:
        answer = await stage.api.get("/tenants/admin/delivery-secret")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["secret"])


async def test_on_postgresql_it_is_required(postgres_url: str) -> None:
    with pytest.raises(SettingsError, match=r"^GATEWAY_SECRET_KEY is required"):
        await start(postgres_url, secret_key=None)


async def test_on_sqlite_one_is_made_beside_the_database_and_found_again(sqlite_url: str, tmp_path: Path) -> None:
    first = await secret(sqlite_url, secret_key=None)
    key = tmp_path / "gateway.db.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert await secret(sqlite_url, secret_key=None) == first
    assert await secret(sqlite_url, secret_key=f"{NEW},{key.read_text().strip()}") == first


async def test_a_key_is_exchanged_and_what_it_encrypted_is_kept(database_url: str) -> None:
    first = await secret(database_url, secret_key=OLD)
    assert await secret(database_url, secret_key=f"{NEW},{OLD}") == first
    assert await secret(database_url, secret_key=NEW) == first
    with pytest.raises(SettingsError, match=r"^GATEWAY_SECRET_KEY holds no key that opens the stored delivery secrets"):
        await start(database_url, secret_key=OLD)


async def test_a_lost_key_file_stops_the_start_with_one_line(sqlite_url: str, tmp_path: Path) -> None:
    await secret(sqlite_url, secret_key=None)
    key = tmp_path / "gateway.db.key"
    copy = key.read_text()
    key.unlink()
    with pytest.raises(SettingsError) as raised:
        await start(sqlite_url, secret_key=None)
    assert str(raised.value).startswith(f"{key} is not the key that opens the stored delivery secrets")
    assert "\n" not in str(raised.value)
    key.write_text(copy)
    await start(sqlite_url, secret_key=None)


async def test_without_stored_secrets_any_key_will_do(database_url: str) -> None:
    await start(database_url, secret_key=OLD)
    await start(database_url, secret_key=NEW)
