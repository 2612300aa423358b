"""`gateway doctor`: a real process, with the settings of the gateway that it examines."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.stage import SECRET_KEY, UPSTREAM_KEY, open_stage
from tests.client.command import gateway, on_a_terminal


async def test_the_doctor_says_what_is_well_and_ends_with_0(database_url: str, tmp_path: Path) -> None:
    pictures = f"file://{tmp_path}/images"
    async with open_stage(database_url, image_store_url=pictures) as stage:
        variables = {
            "GATEWAY_DATABASE_URL": database_url,
            "GATEWAY_UPSTREAM_BASE_URL": stage.emulator_url,
            "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
            "GATEWAY_PUBLIC_BASE_URL": stage.url,
            "GATEWAY_SECRET_KEY": SECRET_KEY,
            "GATEWAY_IMAGE_STORE_URL": pictures,
        }
        as_json, plain = [await gateway("doctor", *more, variables=variables) for more in (["--json"], [])]
        table = await on_a_terminal("doctor", variables=variables)
        misspelled = await gateway("doctor", variables={**variables, "GATEWAY_POLL_MIM": "5s"})
        shut = await gateway("doctor", variables={**variables, "GATEWAY_UPSTREAM_API_KEY": "sk-hidden"})
    said = json.loads(as_json.out)
    assert (as_json.code, as_json.err, said["verdict"]) == (0, "", "ok")
    assert {tuple(check) for check in said["checks"]} == {("check", "verdict", "found", "todo")}
    lines = [line.split("\t") for line in plain.out.splitlines()]
    assert [line[0] for line in lines] == [check["check"] for check in said["checks"]]
    assert {len(line) for line in lines} == {4}
    assert "WHAT TO DO" in table.out
    assert (misspelled.code, "settings\twarning" in misspelled.out) == (0, True)
    assert (shut.code, "upstream\twrong" in shut.out, "sk-hidden" in shut.out) == (1, True, False)


async def test_a_setting_that_cannot_be_read_is_a_finding_and_2() -> None:
    ended = await gateway("doctor", "--json", variables={"GATEWAY_POLL_MIN": "often"})
    said = json.loads(ended.out)
    assert (ended.code, ended.err, said["verdict"]) == (2, "", "wrong")
    [check] = said["checks"]
    assert check["found"].startswith("GATEWAY_POLL_MIN: ")
    assert "README.md" in check["todo"]
