"""`/tenants`: limits set by operators, seen by the tenant; delivery secrets shown and rotated."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.lifecycle.signing_secret import secret_bytes
from tests.acceptance.stage import Stage
from tests.access.keyring import Keyring

UNLIMITED = {"monthly_credits": None, "open_jobs_max": None, "requests_per_second": None}
SOME = {"monthly_credits": 5000, "open_jobs_max": 0, "requests_per_second": 2.5}


async def test_limits_are_replaced_as_a_whole_and_a_new_tenant_is_made(stage: Stage) -> None:
    made = await stage.api.put("/tenants/acme", json=SOME)
    assert (made.status_code, made.headers["location"]) == (201, f"{stage.url}/tenants/acme")
    assert made.json() == {"name": "acme", **SOME, "created_at": made.json()["created_at"]}
    again = await stage.api.put("/tenants/acme", json={"monthly_credits": 7})
    assert again.status_code == 200
    assert again.json() == {**made.json(), **UNLIMITED, "monthly_credits": 7}
    assert (await stage.api.get(made.headers["location"])).json() == again.json()
    assert [tenant["name"] for tenant in (await stage.api.get("/tenants")).json()["tenants"]] == ["acme", "admin"]


@pytest.mark.parametrize("name", ["Acme", "a%20b", "a" * 65, "a%00b", "%C3%A4"])
async def test_a_tenant_needs_a_plain_name(stage: Stage, name: str) -> None:
    answer = await stage.api.put(f"/tenants/{name}", json=SOME)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")
    for method, path in (("GET", ""), ("GET", "/delivery-secret"), ("POST", "/delivery-secret/rotate")):
        assert (await stage.api.request(method, f"/tenants/{name}{path}")).status_code == 404


BAD: list[tuple[dict[str, Any], str]] = [
    *(({limit: value}, limit) for limit in ("monthly_credits", "open_jobs_max") for value in (-1, 2**31, 1.5, "5", True)),
    *(({"requests_per_second": value}, "requests_per_second") for value in (0, -1, 1e-9, 1e9, "5", True)),
    ({"requests_per_second": float("nan")}, "requests_per_second"),
    ({"colour": "red"}, "colour"),
    ({"name": "umbrella"}, "name"),
]


async def test_limits_that_do_not_fit_are_refused_and_change_nothing(stage: Stage) -> None:
    await stage.api.put("/tenants/acme", json=SOME)
    for body, field in BAD:
        answer = await stage.api.put("/tenants/acme", content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json()["errors"][0]["field"].split(".")[0] == field, body
    assert (await stage.api.get("/tenants/acme")).json() == {**(await stage.api.get("/tenants/acme")).json(), **SOME}


async def test_a_tenant_sees_itself_alone(stage: Stage, keyring: Keyring) -> None:
    await keyring.make("jobs:read", tenant="umbrella")
    for scopes in (["jobs:read"], ["jobs:write"]):
        own = await keyring.caller(*scopes)
        assert (await own.get("/tenants/acme")).json()["name"] == "acme"
        others = [(await own.get(f"/tenants/{name}")).json() for name in ("umbrella", "nobody")]
        assert {**others[0], "request_id": ""} == {**others[1], "request_id": ""}
        assert others[0]["status"] == 404
        assert (await own.get("/tenants")).status_code == 403
        assert (await own.put("/tenants/acme", json=SOME)).status_code == 403
        assert (await own.get("/tenants/umbrella/delivery-secret")).status_code in (403, 404)
    assert (await stage.api.get("/tenants/umbrella")).json()["name"] == "umbrella"


async def test_a_delivery_secret_is_shown_to_those_who_verify_with_it(stage: Stage, keyring: Keyring) -> None:
    writer, reader = await keyring.caller("jobs:write"), await keyring.caller("jobs:read")
    foreign = await keyring.caller("jobs:write", tenant="umbrella")
    answer = await writer.get("/tenants/acme/delivery-secret")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert len(secret_bytes(answer.json()["secret"])) == 32
    assert answer.json()["previous_valid_until"] is None
    assert (await stage.api.get("/tenants/acme/delivery-secret")).json() == answer.json()
    assert (await reader.get("/tenants/acme/delivery-secret")).status_code == 403
    assert (await foreign.get("/tenants/acme/delivery-secret")).status_code == 404
    assert (await foreign.get("/tenants/umbrella/delivery-secret")).json()["secret"] != answer.json()["secret"]


async def test_a_rotation_makes_a_new_secret_and_the_old_one_stays_valid_for_a_day(stage: Stage, keyring: Keyring) -> None:
    writer = await keyring.caller("jobs:write")
    old = (await writer.get("/tenants/acme/delivery-secret")).json()
    assert (await writer.post("/tenants/acme/delivery-secret/rotate")).status_code == 403
    rotated = await stage.api.post("/tenants/acme/delivery-secret/rotate")
    assert rotated.status_code == 200
    new = rotated.json()
    assert new["secret"] != old["secret"]
    valid = datetime.fromisoformat(new["previous_valid_until"]) - datetime.fromisoformat(new["created_at"])
    assert valid == timedelta(hours=24)
    assert (await writer.get("/tenants/acme/delivery-secret")).json() == new
    assert (await stage.api.post("/tenants/nobody/delivery-secret/rotate")).status_code == 404
