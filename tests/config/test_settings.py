"""A bad or missing setting stops the start with one line that names it, and never shows its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import config
from app.errors import SettingsError
from app.storage.database import database_url

HUSH = "hush-hush-hush-hush"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLL_MIN", "5"),
        ("POLL_MIN", "-5s"),
        ("POLL_MIN", "0s"),
        ("POLL_MIN", "five seconds"),
        ("HARD_DEADLINE", "9" * 400 + "d"),
        ("HARD_DEADLINE", "367d"),
        ("HARD_DEADLINE", "1m"),
        ("POLL_MAX", "1s"),
        ("UPSTREAM_MAX_IN_FLIGHT", "0"),
        ("UPSTREAM_MAX_IN_FLIGHT", "many"),
        ("UPSTREAM_SUBMIT_RATE", "0"),
        ("SUBMIT_ATTEMPTS", "0"),
        ("UPSTREAM_BASE_URL", f"https://user:{HUSH}@host"),
        ("UPSTREAM_BASE_URL", "https://host:99999"),
        ("UPSTREAM_BASE_URL", "ftp://host"),
        ("PUBLIC_BASE_URL", "gateway.example.com"),
        ("BOOTSTRAP_ADMIN_KEY", "short"),
        ("BOOTSTRAP_ADMIN_KEY", f"{HUSH} with a blank"),
        ("UPSTREAM_API_KEY", f"{HUSH}\nX: y"),
        ("LOG_FORMAT", "xml"),
        ("AUTO_MIGRATE", "perhaps"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    with pytest.raises(SettingsError) as caught:
        config.load()
    message = str(caught.value)
    assert message.startswith(f"GATEWAY_{name}")
    assert "\n" not in message
    assert HUSH not in message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["nonsense", f"postgresql://gateway:{HUSH}", "mysql://host/db", "sqlite://", "sqlite:///:memory:", ""]
)
def test_a_bad_database_url_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_DATABASE_URL") as caught:
        database_url(url)
    assert HUSH not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["postgres://u:p@h/db", "postgresql://u:p@h/db", "postgresql+psycopg://u:p@h/db"])
def test_postgresql_may_be_spelled_in_each_usual_way(url: str) -> None:
    assert database_url(url).drivername == "postgresql+psycopg"


def test_an_env_file_that_is_not_text_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"GATEWAY_POLL_MIN=\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env"):
        config.load()


def test_a_slip_of_the_pen_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_POL_MIN", "1s")
    monkeypatch.setenv("GATEWAY_POLL_MIN", "1s")
    monkeypatch.setenv("GATEWAY_URL", "http://h")
    assert config.unknown_names() == ["GATEWAY_POL_MIN"]


def test_a_slip_of_the_pen_in_the_env_file_is_noticed_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("GATEWAY_POL_MAX=1s\nGATEWAY_POLL_MAX=1s\nOTHER=1\n")
    assert config.unknown_names() == ["GATEWAY_POL_MAX"]
