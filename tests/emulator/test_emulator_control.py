"""The control endpoints."""

from typing import Any

import pytest


async def test_a_fault_is_put_in_force_and_cleared(direct: Any) -> None:
    order = {"fault": "submit-500", "next": 2}
    answer = await direct.client.post("/control/faults", json=order)
    assert answer.json()["faults"] == [{"fault": "submit-500", "value": None, "rate": None, "every": None, "next": 2}]
    assert [(await direct.submit("a fox")).status_code for _ in range(3)] == [500, 500, 200]
    await direct.client.post("/control/faults", json={"fault": "callback-late", "value": 3, "rate": 0.5})
    assert (await direct.client.delete("/control/faults")).json()["faults"] == []


async def test_the_catalogue_can_be_read(direct: Any) -> None:
    assert "callback-lost" in (await direct.client.get("/control/faults")).json()["known"]


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("faults", {"fault": "no-such-fault"}),
        ("faults", {"fault": 7}),
        ("faults", {}),
        ("faults", {"fault": "submit-500", "rate": 2}),
        ("faults", {"fault": "submit-500", "next": 0}),
        ("faults", {"fault": "submit-500", "rate": 0.5, "next": 1}),
        ("faults", {"fault": "submit-500", "value": 3}),
        ("faults", []),
        ("credits", {"key": "sk-emulator"}),
        ("credits", {"key": "sk-emulator", "credits": -1}),
        ("keys", {"credits": 5}),
        ("outage", {"submit": "403"}),
    ],
)
async def test_an_order_not_understood_is_422(direct: Any, path: str, order: object) -> None:
    answer = await direct.client.post(f"/control/{path}", json=order)
    assert answer.status_code == answer.json()["code"] == 422


async def test_an_order_which_is_not_json_is_422(direct: Any) -> None:
    assert (await direct.client.post("/control/faults", content=b"x")).status_code == 422


async def test_credits_can_be_set(direct: Any) -> None:
    await direct.client.post("/control/credits", json={"key": "sk-emulator", "credits": 3})
    assert (await direct.submit("a fox")).status_code == 402
    assert (await direct.client.post("/control/credits", json={"key": "none", "credits": 3})).status_code == 404


async def test_keys_can_be_issued_and_withdrawn(direct: Any) -> None:
    await direct.client.delete("/control/keys/sk-emulator")
    assert (await direct.submit("a fox")).status_code == 401
    await direct.client.post("/control/keys", json={"key": "sk-emulator", "credits": 5})
    assert (await direct.submit("a fox")).status_code == 200
    assert (await direct.client.delete("/control/keys/none")).status_code == 404


async def test_an_outage_lasts_until_it_is_cleared(direct: Any) -> None:
    answer = await direct.client.post("/control/outage", json={"submit": "502", "status": "500"})
    assert answer.json() == {"submit": "502", "status": "500"}
    assert (await direct.submit("a fox")).headers["content-type"].startswith("text/html")
    assert (await direct.client.get("/api/status")).status_code == 500
    await direct.client.post("/control/outage", json={"submit": None})
    assert (await direct.submit("a fox")).status_code == 200
    assert (await direct.client.get("/control/outage")).json() == {"submit": None, "status": "500"}


async def test_a_reset_clears_the_books(direct: Any) -> None:
    await direct.submit("a fox")
    await direct.client.post("/control/reset")
    account = await direct.account()
    assert (account["tasks"], account["keys"]["sk-emulator"]["consumed"]) == ([], 0)
