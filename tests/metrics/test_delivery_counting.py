"""Each attempt of a delivery is counted by what came of it."""

from __future__ import annotations

import pytest

from app.lifecycle.delivery import ATTEMPTS
from app.metrics import DELIVERY_OUTCOMES, Metrics, exposition
from tests.deliveries.rig import Rig, answering, swept
from tests.metrics.scraped import Scraped
from tests.raw_server import Serve, serve

__all__ = ["serve"]


@pytest.fixture
async def rig(database: object, clock: object) -> Rig:
    made = Rig(database, clock)  # type: ignore[arg-type]
    await made.tenant()
    return made


def counted(metrics: Metrics) -> dict[str, float | None]:
    page, _ = exposition(metrics.families(), "")
    found = Scraped(page.decode())
    return {outcome: found.value("gateway_deliveries_total", outcome=outcome) for outcome in DELIVERY_OUTCOMES}


@pytest.mark.parametrize(
    ("statuses", "outcome", "failed"),
    [(("500 Oops", "204 No Content"), "delivered", 1), (("410 Gone",), "gone", 0), (("500 Oops",), "exhausted", ATTEMPTS - 1)],
)
async def test_an_attempt_is_counted_by_its_outcome(
    rig: Rig, serve: Serve, statuses: tuple[str, ...], outcome: str, failed: int
) -> None:
    server, metrics = await serve(answering(*statuses)), Metrics()
    job = await rig.settled(f"{server.url}/hook")
    deliverer = rig.deliverer(metrics=metrics)
    for _ in range(failed + 1):
        await rig.due(job)
        await swept(deliverer)
    assert counted(metrics) == dict.fromkeys(DELIVERY_OUTCOMES, 0) | {"failed": failed, outcome: 1}


async def test_a_failure_that_somebody_asked_for_is_no_second_end(rig: Rig, serve: Serve) -> None:
    server, metrics = await serve(answering("500 Oops")), Metrics()
    job = await rig.settled(f"{server.url}/hook")
    await rig.every_delivery(state="exhausted", due_at=None, finished_at=rig.clock.now, attempts=ATTEMPTS)
    await rig.deliverer(metrics=metrics).redeliver((await rig.delivery(job)).delivery_id, by="test")
    assert counted(metrics) == dict.fromkeys(DELIVERY_OUTCOMES, 0) | {"failed": 1}
