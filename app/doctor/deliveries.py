"""Do the receivers take their deliveries?"""

from __future__ import annotations

from collections.abc import Iterator

from app.doctor.finding import Finding, ok, warnings
from app.storage.stats import Standings

CHECK = "deliveries"


def judge_deliveries(standings: Standings) -> Finding:
    troubles = list(_troubles(standings))
    if troubles:
        return warnings(CHECK, troubles)
    failing = standings.receivers_failing.found
    return ok(CHECK, f"{standings.deliveries.found} pending" + (f", {failing} receivers failing" if failing else ""))


def _troubles(standings: Standings) -> Iterator[tuple[str, str]]:
    if parked := standings.receivers_parked.found:
        todo = "gateway receivers list --parked; once one is well, gateway receivers resume TENANT ORIGIN"
        yield f"{parked} receivers are parked after days of failure", todo
    if exhausted := standings.deliveries_exhausted.found:
        todo = "GET /deliveries?state=exhausted; once the receiver is well, POST /deliveries/{id}/redeliver"
        yield f"{exhausted} were given up after their last attempt", todo
