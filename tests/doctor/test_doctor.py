"""The whole examination on both databases: all is well, or what is wrong is named with what to do about it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import insert, text, update

from app.config import Settings
from app.doctor.examine import STORED, examine
from app.doctor.finding import Finding, Verdict, exit_code_of, verdict_of
from app.doctor.pictures import look_at_pictures
from app.emulator import EmulatorOptions, create_emulator
from app.storage import schema
from app.storage.tables import USAGE_FIGURES, images, usage_entries
from app.storage.tenants import TenantStore
from app.vault import Vault
from tests.acceptance.stage import SECRET_KEY, open_stage, serving, settings_for
from tests.databases import OpenDatabase

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
NOWHERE = "http://127.0.0.1:9"
OLD_KEY = "a-key-that-was-used-before-this-one"


class Report:
    """What was found, by check."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = {finding.check: finding for finding in findings}
        self.exit_code, self.verdict = exit_code_of(findings), verdict_of(findings)

    def __getitem__(self, check: str) -> tuple[Verdict, str]:
        return self.findings[check].verdict, self.findings[check].found

    def only(self, verdict: Verdict) -> list[str]:
        return [check for check, finding in self.findings.items() if finding.verdict is verdict]


async def report(settings: Settings, **more: Any) -> Report:
    findings = await examine(settings, **more)
    assert all(finding.todo for finding in findings if finding.verdict in (Verdict.WARNING, Verdict.WRONG))
    return Report(findings)


@pytest.fixture
async def emulator_url() -> AsyncIterator[str]:
    async with serving(create_emulator(EmulatorOptions())) as url:
        yield url


@pytest.fixture
def alone(sqlite_url: str, emulator_url: str, tmp_path: Path) -> Settings:
    """A SQLite database that no gateway runs on, a folder for pictures, and an upstream."""
    (tmp_path / "images").mkdir()
    return settings_for(sqlite_url, upstream_base_url=emulator_url, image_store_url=f"file://{tmp_path}/images")


async def test_a_gateway_that_is_well_has_nothing_but_ok_while_it_runs(database_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, image_store_url=f"file://{tmp_path}/images", image_allow="127.0.0.1") as stage:
        await stage.run()
        settings = settings_for(
            database_url,
            upstream_base_url=stage.emulator_url,
            public_base_url=stage.url,
            image_store_url=f"file://{tmp_path}/images",
        )
        asked = stage.world.account()["requests"]["status"]
        found = await report(settings)
        assert found.only(Verdict.OK) == list(found.findings), found.findings
        assert list(found.findings) == documented()
        assert (found.exit_code, found.verdict) == (0, Verdict.OK)
        assert stage.world.account()["requests"]["status"] - asked == 1, "the upstream is asked once"
        assert len(stage.tasks()) == 1, "and nothing is bought"


async def test_a_file_that_nobody_uses_is_examined_without_a_trace(alone: Settings, tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    before = hashlib.sha256(file.read_bytes()).digest()
    found = await report(alone)
    assert found["database"] == (Verdict.OK, f"SQLite, {file}, in use by no gateway")
    assert found["duties"] == (Verdict.OK, "no gateway runs, and nothing waits for one")
    assert found["public address"][0] is Verdict.WARNING
    assert found.exit_code == 0
    assert hashlib.sha256(file.read_bytes()).digest() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"gateway.db", "gateway.db-wal", "gateway.db-shm", "images"}


async def test_jobs_that_wait_for_a_gateway_that_does_not_run_are_wrong_and_a_pause_is_said(sqlite_url: str) -> None:
    async with open_stage(sqlite_url) as stage:
        await stage.api.post("/dispatch/pause")
        await stage.accept()
        settings = settings_for(sqlite_url, upstream_base_url=stage.emulator_url)
        assert (await report(settings))["duties"] == (Verdict.OK, "nothing is overdue")
    found = await report(settings)
    assert found["duties"] == (Verdict.WRONG, "no gateway runs, and 1 jobs wait for one")
    assert found["gate"][1].startswith("shut: paused, for ")
    assert (found.findings["duties"].todo, found.verdict) == ("gateway serve", Verdict.WRONG)


def documented() -> list[str]:
    """The checks that operators can read about, in the order of the table."""
    _, _, section = OPERATIONS.read_text().partition("## The doctor")
    return re.findall(r"^\| `([a-z ]+)` \|", section.partition("\n## ")[0], re.MULTILINE)


# --- settings ---


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"upstream_api_key": None}, "GATEWAY_UPSTREAM_API_KEY"),
        ({"database_url": "mysql://nobody@nowhere/x"}, "GATEWAY_DATABASE_URL"),
        ({"database_url": "postgresql://nobody:hidden@127.0.0.1:1/x", "secret_key": None}, "GATEWAY_SECRET_KEY"),
        ({"delivery_allow": "169.254.0.0/16"}, "GATEWAY_DELIVERY_ALLOW"),
        ({"image_allow": "!"}, "GATEWAY_IMAGE_ALLOW"),
    ],
)
async def test_settings_that_no_gateway_starts_with_are_all_that_is_said(
    alone: Settings, changes: dict[str, Any], told: str
) -> None:
    found = await report(alone.model_copy(update=changes))
    assert list(found.findings) == ["settings"]
    assert told in found["settings"][1]
    assert "hidden" not in found["settings"][1]
    assert found.exit_code == 2


async def test_a_misspelled_setting_is_a_warning(alone: Settings) -> None:
    found = await report(alone, unknown_names=["GATEWAY_POLL_MIM"])
    assert found["settings"] == (Verdict.WARNING, "valid, but no settings of this version: GATEWAY_POLL_MIM")
    assert found.exit_code == 0


# --- database ---


async def test_a_postgresql_out_of_reach_is_5_and_the_rest_goes_on(alone: Settings) -> None:
    found = await report(alone.model_copy(update={"database_url": "postgresql://nobody:hidden@127.0.0.1:1/gateway"}))
    assert found["database"][0] is Verdict.WRONG
    assert found["database"][1].startswith("PostgreSQL, gateway at 127.0.0.1:1: ")
    assert "hidden" not in str(found.findings)
    assert found.only(Verdict.UNKNOWN) == ["schema", *STORED]
    assert found["upstream"][0] is Verdict.OK
    assert found.exit_code == 5


async def test_a_sqlite_file_that_is_not_there_is_not_made(alone: Settings, tmp_path: Path) -> None:
    found = await report(alone.model_copy(update={"database_url": f"sqlite:///{tmp_path}/none/gateway.db"}))
    assert found["database"] == (Verdict.WARNING, f"there is none yet at {tmp_path}/none/gateway.db")
    assert found.only(Verdict.UNKNOWN) == ["schema", *STORED]
    assert not (tmp_path / "none").exists()


async def test_a_place_where_no_file_can_be_is_wrong(alone: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = await report(alone.model_copy(update={"database_url": f"sqlite:///{tmp_path}/file/gateway.db"}))
    assert found["database"] == (Verdict.WRONG, f"{tmp_path}/file cannot be written")
    assert found.exit_code == 5


async def test_a_file_that_is_no_database_is_wrong(alone: Settings, tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_text("these are not the bytes of a database\n" * 100)
    found = await report(alone)
    assert found["database"][0] is Verdict.WRONG
    assert "not a database" in found["database"][1]


@pytest.mark.parametrize(("auto", "verdict", "exit_code"), [(True, Verdict.WARNING, 0), (False, Verdict.WRONG, 1)])
async def test_a_schema_of_an_earlier_release_is_upgraded_by_whoever_may(
    empty_database_url: str, open_database: OpenDatabase, alone: Settings, auto: bool, verdict: Verdict, exit_code: int
) -> None:
    await schema.upgrade(open_database(empty_database_url), "0001")
    found = await report(alone.model_copy(update={"database_url": empty_database_url, "auto_migrate": auto}))
    assert found["schema"] == (verdict, f"at 0001, and this version needs {schema.newest()}")
    assert "gateway db upgrade" in str(found.findings["schema"].todo)
    assert found.only(Verdict.UNKNOWN) == list(STORED)
    assert found.exit_code == exit_code


async def test_a_schema_of_a_later_release_will_do_if_it_lacks_nothing(
    database_url: str, open_database: OpenDatabase, alone: Settings
) -> None:
    database, settings = open_database(database_url), alone.model_copy(update={"database_url": database_url})
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9000'"))
    later = await report(settings)
    assert later["schema"][0] is Verdict.OK
    assert later["schema"][1].startswith("at 9000, of a later release")
    async with database.writing() as connection:
        await connection.execute(text("DROP TABLE audit"))
    other = await report(settings)
    assert other["schema"][0] is Verdict.WRONG
    assert "audit" in other["schema"][1]


async def test_a_secret_that_no_key_opens_is_wrong_before_a_start_finds_out(
    database_url: str, open_database: OpenDatabase, alone: Settings
) -> None:
    settings = alone.model_copy(update={"database_url": database_url})
    assert (await report(settings))["secret key"][0] is Verdict.OK
    tenants = TenantStore(open_database(database_url), Vault([OLD_KEY]))
    await tenants.change_limits("acme", lambda limits: limits, by="test")
    await tenants.rotate_secret("acme", by="test")
    found = await report(settings)
    assert found["secret key"][0] is Verdict.WRONG
    assert found.exit_code == 2
    listed = settings.model_copy(update={"secret_key": SecretStr(f"{SECRET_KEY},{OLD_KEY}")})
    assert (await report(listed))["secret key"][0] is Verdict.OK


async def test_books_that_differ_from_the_jobs_are_wrong(
    database_url: str, open_database: OpenDatabase, alone: Settings
) -> None:
    settings = alone.model_copy(update={"database_url": database_url})
    assert (await report(settings))["books"] == (Verdict.OK, "in balance")
    async with open_database(database_url).writing() as connection:
        booked = {name: int(name in ("open", "held")) for name in USAGE_FIGURES}
        await connection.execute(insert(usage_entries), [{"tenant": "acme", "day": date(2026, 11, 1), **booked}])
    found = await report(settings)
    assert found["books"] == (Verdict.WRONG, "out of balance, by +1 open jobs and +1 held credits")
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("off", "database", "upstream"),
    [
        (timedelta(0), Verdict.OK, Verdict.OK),
        (timedelta(seconds=20), Verdict.WARNING, Verdict.WARNING),
        (timedelta(hours=-1), Verdict.WRONG, Verdict.WARNING),
    ],
)
async def test_a_clock_that_is_off_is_said_of_both_others(
    postgres_url: str, alone: Settings, off: timedelta, database: Verdict, upstream: Verdict
) -> None:
    settings = alone.model_copy(update={"database_url": postgres_url})
    found = await report(settings, clock=lambda: datetime.now(UTC) + off)
    assert (found["clock"][0], found["upstream clock"][0]) == (database, upstream), found.findings


async def test_a_check_that_breaks_down_hides_no_other(postgres_url: str, alone: Settings) -> None:
    def broken() -> datetime:
        raise OSError("the clock is gone")

    found = await report(alone.model_copy(update={"database_url": postgres_url}), clock=broken)
    assert found.only(Verdict.WRONG) == ["clock", "upstream"]
    assert found["clock"] == (Verdict.WRONG, "the check failed: OSError: the clock is gone")
    assert list(found.findings) == [check for check in documented() if check != "upstream clock"]


async def test_standings_that_cannot_be_read_are_said_of_each_check_that_needs_them(
    sqlite_url: str, open_database: OpenDatabase, alone: Settings
) -> None:
    async with open_stage(sqlite_url) as stage:
        await stage.api.post("/dispatch/pause")
        await stage.accept()
    async with open_database(sqlite_url).writing() as connection:
        await connection.execute(text("UPDATE jobs SET created_at = 'no instant'"))
    found = await report(alone)
    assert found.only(Verdict.WRONG) == ["gate", "duties", "waiting", "deliveries"]
    assert list(found.findings) == documented()


# --- pictures ---


async def test_a_picture_folder_that_is_not_there_is_not_made(alone: Settings, tmp_path: Path) -> None:
    elsewhere = alone.model_copy(update={"image_store_url": f"file://{tmp_path}/not/there"})
    assert (await report(elsewhere))["pictures"] == (Verdict.WARNING, f"there is no folder {tmp_path}/not/there yet")
    assert not (tmp_path / "not").exists()


async def test_root_leaves_nothing_in_a_folder_of_somebody_else(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    owner = tmp_path.stat().st_uid
    finding = await look_at_pictures(f"file://{tmp_path}", user=0)
    assert (finding.verdict, finding.found) == (
        Verdict.WARNING,
        f"{tmp_path} belongs to user {owner}, and root wrote nothing there",
    )
    assert list(tmp_path.iterdir()) == []


async def test_a_picture_folder_that_cannot_be_made_is_a_bad_setting(alone: Settings, tmp_path: Path) -> None:
    found = await report(alone.model_copy(update={"image_store_url": f"file://{tmp_path}/gateway.db/images"}))
    assert found["pictures"][0] is Verdict.WRONG
    assert found.exit_code == 2


async def test_a_picture_store_out_of_reach_is_wrong(alone: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "AWS_ENDPOINT_URL": NOWHERE, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "r",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = await report(alone.model_copy(update={"image_store_url": "s3://pictures/here"}))
    assert found["pictures"][0] is Verdict.WRONG
    assert found["pictures"][1].startswith("s3://pictures/here: ")
    assert found.exit_code == 1


async def test_a_picture_store_that_is_off_is_well(alone: Settings) -> None:
    found = await report(alone.model_copy(update={"image_store_url": "off"}))
    assert found["pictures"] == (Verdict.OK, "not kept: GATEWAY_IMAGE_STORE_URL is off")


async def test_pictures_that_wait_in_vain_are_a_warning_only_where_pictures_are_kept(
    sqlite_url: str, open_database: OpenDatabase, alone: Settings
) -> None:
    async with open_stage(sqlite_url, image_store_url=alone.image_store_url) as stage:  # which does not let 127.0.0.1 through
        await stage.run()
    async with open_database(sqlite_url).writing() as connection:
        since = datetime.now(UTC) - timedelta(hours=5)
        await connection.execute(update(images).values(state="pending", due_at=since, created_at=since))
    assert (await report(alone))["waiting"] == (Verdict.WARNING, "a picture has waited for 5 h")
    off = await report(alone.model_copy(update={"image_store_url": "off"}))
    assert off["waiting"] == (Verdict.OK, "nothing")


# --- upstream ---


async def test_a_key_that_the_upstream_does_not_know_is_wrong(alone: Settings, emulator_url: str) -> None:
    stranger = settings_for(alone.database_url, upstream_base_url=emulator_url, upstream_api_key="sk-hidden")
    found = await report(stranger)
    assert found["upstream"] == (Verdict.WRONG, f"{emulator_url} does not accept the key")
    assert "sk-hidden" not in str(found.findings)
    assert found.exit_code == 1


async def test_an_upstream_out_of_reach_is_5(alone: Settings) -> None:
    found = await report(alone.model_copy(update={"upstream_base_url": NOWHERE}))
    assert found["upstream"][0] is Verdict.WRONG
    assert "no connection could be made" in found["upstream"][1]
    assert found["upstream clock"][0] is Verdict.UNKNOWN
    assert found.exit_code == 5


async def test_somebody_else_at_the_upstreams_address_is_not_taken_for_it(alone: Settings) -> None:
    async with serving(FastAPI(openapi_url=None, docs_url=None)) as url:
        found = await report(alone.model_copy(update={"upstream_base_url": url + "/elsewhere"}))
    assert found["upstream"][0] is Verdict.WRONG


# --- public address ---


async def test_the_public_address_must_lead_to_a_gateway_and_its_callbacks(postgres_url: str, alone: Settings) -> None:
    settings = alone.model_copy(update={"database_url": postgres_url})
    proxy = FastAPI()

    @proxy.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    async with serving(proxy) as callbacks_lost, serving(FastAPI()) as not_ours:
        for url, told in (
            (callbacks_lost, f"{callbacks_lost}/callbacks/ answers 404"),
            (not_ours, f"{not_ours}/healthz answers 404"),
            (NOWHERE, f"{NOWHERE} does not answer"),
        ):
            found = await report(settings.model_copy(update={"public_base_url": url}))
            assert found["public address"][0] is Verdict.WRONG
            assert found["public address"][1].startswith(told)
            assert found.exit_code == 1


async def test_without_a_public_address_a_warning_says_what_that_costs(alone: Settings) -> None:
    found = await report(alone.model_copy(update={"public_base_url": None}))
    assert found["public address"] == (Verdict.WARNING, "none is set, so the upstream cannot call back")
    assert found["callbacks"] == (Verdict.OK, "none are asked for")
