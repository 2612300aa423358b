"""Is the upstream there, and does it accept our key?"""

from __future__ import annotations

from app.clock import Clock
from app.doctor.clocks import UPSTREAM_CHECK, judge_upstream_clock
from app.doctor.finding import Finding, ok, unknown, warning, wrong
from app.exits import OUT_OF_REACH
from app.lifecycle.answers import NoAnswer, NotFound, Reading
from app.upstream.client import UpstreamClient

CHECK = "upstream"


async def look_at_upstream(base_url: str, api_key: str, clock: Clock) -> list[Finding]:
    """Asks once for a task that cannot be, which costs nothing; past the gate, since it must tell also while that is shut."""
    client, before = UpstreamClient(base_url, api_key), clock()
    try:
        probe = await client.probe()
    finally:
        await client.aclose()
    if probe.told_at is None and isinstance(probe.reading, NoAnswer):
        return [judge_reading(base_url, probe.reading), unknown(UPSTREAM_CHECK, "the upstream did not answer")]
    return [judge_reading(base_url, probe.reading), judge_upstream_clock(probe.told_at, before, clock())]


def judge_reading(base_url: str, reading: Reading) -> Finding:
    match reading:
        case NotFound():
            return ok(CHECK, f"{base_url} answers and accepts the key")
        case NoAnswer(unauthorized=True):
            todo = "set the right GATEWAY_UPSTREAM_API_KEY, and restart; jobs are accepted and wait meanwhile"
            return wrong(CHECK, f"{base_url} does not accept the key", todo)
        case NoAnswer(detail=detail):
            todo = "see GATEWAY_UPSTREAM_BASE_URL, the network from here, and whether the upstream is up; jobs wait meanwhile"
            return wrong(CHECK, f"{base_url}: {detail}", todo, OUT_OF_REACH)
        case _:
            return warning(CHECK, f"{base_url} knows a task that cannot be", "see whether it is the upstream at all")
