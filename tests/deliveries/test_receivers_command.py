"""`gateway receivers`: a real process, on the database itself."""

from __future__ import annotations

from app.lifecycle.receiver import PARK_AFTER
from tests.access.test_the_commands import gateway
from tests.deliveries.rig import Rig

ORIGIN = "https://hooks.example"


async def test_a_parked_receiver_is_listed_and_resumed_by_one_command(rig: Rig, database_url: str) -> None:
    job = await rig.settled(f"{ORIGIN}/hook")
    for _ in range(3):
        [claimed] = await rig.claim()
        await rig.fail(claimed)
        rig.clock.now += PARK_AFTER / 2
    assert (await gateway(database_url, "receivers", "list", "--parked", "--json")).said["receivers"][0]["pending"] == 1
    assert await rig.claim() == [], "this puts it away"
    assert (await rig.delivery(job)).due_at is None

    done = await gateway(database_url, "receivers", "resume", "acme", ORIGIN)
    assert (done.code, done.out) == (0, "")
    assert "1 deliveries are due again" in done.err
    assert (await gateway(database_url, "receivers", "list")).out == ""
    assert (await rig.delivery(job)).due_at is not None
    [audited] = await rig.audit.newest(1)
    assert (audited.act.action, audited.act.key_id) == ("receiver.resume", "command-line")

    assert (await gateway(database_url, "receivers", "resume", "acme", ORIGIN)).code == 3
    assert (await gateway(database_url, "receivers", "resume", "acme", "hooks")).code == 2
