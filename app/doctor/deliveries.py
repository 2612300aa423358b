"""Do the receivers take their deliveries?"""

from __future__ import annotations

from app.doctor.finding import Finding, ok, warning
from app.storage.stats import Standings

CHECK = "deliveries"


def judge_deliveries(standings: Standings) -> Finding:
    if standings.receivers_parked.found:
        todo = "gateway receivers list --parked; once one is well, gateway receivers resume TENANT ORIGIN"
        return warning(CHECK, f"{standings.receivers_parked.found} receivers are parked after days of failure", todo)
    if standings.deliveries_exhausted.found:
        todo = "GET /deliveries?state=exhausted; once the receiver is well, POST /deliveries/{id}/redeliver"
        return warning(CHECK, f"{standings.deliveries_exhausted.found} were given up after their last attempt", todo)
    failing = standings.receivers_failing.found
    return ok(CHECK, f"{standings.deliveries.found} pending" + (f", {failing} receivers failing" if failing else ""))
