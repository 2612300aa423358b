"""The key that SQLite deployments get without asking: made once, readable by its owner, the same for all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.vault import Vault, key_beside

ROOT = Path(__file__).parents[2]
ROUNDS, PROCESSES = 40, 4
#: Meets the others at a line on its standard input, once for each database.
RACER = """
import sys
from pathlib import Path
from app.vault import key_beside
print("ready", flush=True)
for line in sys.stdin:
    print(key_beside(Path(line.strip())), flush=True)
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gateway.db"


def key_file(database: Path) -> Path:
    return database.with_name("gateway.db.key")


def test_it_is_made_once_and_then_stays(database: Path) -> None:
    key = key_beside(database)
    assert key_beside(database) == key
    assert key_file(database).read_text().strip() == key
    assert Vault.from_setting(key).derive("links")


def test_only_its_owner_may_open_it_and_nothing_else_is_left_behind(database: Path) -> None:
    key_beside(database)
    assert key_file(database).stat().st_mode & 0o777 == 0o600
    assert list(database.parent.iterdir()) == [key_file(database)]


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    pipes = [(racer.stdin, racer.stdout) for racer in racers]
    try:
        assert {told.readline() for _, told in pipes if told} == {"ready\n"}
        for number in range(ROUNDS):
            database = tmp_path / f"{number}.db"
            for asked, _ in pipes:
                assert asked is not None
                asked.write(f"{database}\n")
                asked.flush()
            assert {told.readline() for _, told in pipes if told} == {(tmp_path / f"{number}.db.key").read_text()}
    finally:
        for racer in racers:
            racer.communicate(timeout=60)
    assert len(list(tmp_path.iterdir())) == ROUNDS


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_key_that_everybody_may_open_is_refused_with_what_to_do(database: Path, mode: int) -> None:
    key = key_beside(database)
    key_file(database).chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600 ") as raised:
        key_beside(database)
    assert key not in str(raised.value)


def test_a_key_that_a_group_of_the_deployers_may_open_is_taken(database: Path) -> None:
    key = key_beside(database)
    key_file(database).chmod(0o660)
    assert key_beside(database) == key


def test_a_key_that_was_put_there_by_hand_may_be_a_list(database: Path) -> None:
    old = key_beside(database)
    key_file(database).write_text(f"{'n' * 32},{old}\n")
    assert len(Vault.from_setting(key_beside(database)).derive("links")) == 2


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_a_file_that_holds_no_key_is_refused_and_kept(database: Path, content: bytes) -> None:
    key_beside(database)
    key_file(database).write_bytes(content)
    with pytest.raises(SettingsError, match="holds no key"):
        key_beside(database)
    assert key_file(database).read_bytes() == content


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(SettingsError, match=r"gateway\.db\.key cannot be read or made \(File exists\)"):
        key_beside(tmp_path / "data" / "gateway.db")


def test_a_link_that_leads_nowhere_is_refused_and_not_replaced(database: Path) -> None:
    database.parent.mkdir()
    key_file(database).symlink_to("nowhere")
    with pytest.raises(SettingsError, match="No such file"):
        key_beside(database)
    assert key_file(database).is_symlink()
