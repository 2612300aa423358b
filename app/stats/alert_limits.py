"""From when on somebody should look: the limits of the alert rules (docs/operations/alerts.yml), for all who judge. Pure.

Of lost callbacks they are `MOSTLY_LOST` and `ENOUGH` (app/lifecycle/callback_health.py).
"""

from __future__ import annotations

from datetime import timedelta

from app.lifecycle.states import JobState

#: Ages of the oldest job: since accept where it is queued, else since its send.
OLDEST_MAX = {
    JobState.QUEUED: timedelta(minutes=15),
    JobState.UNCONFIRMED: timedelta(minutes=5),
    JobState.RUNNING: timedelta(hours=1),
}
GATE_SHUT_MAX = timedelta(minutes=5)  #: what passes by itself has passed by then
CHECKS_LATE_MAX = timedelta(minutes=2)
DELIVERIES_LATE_MAX = timedelta(minutes=5)
UNRESOLVED_MAX = timedelta(hours=1)
PICTURES_WAIT_MAX = timedelta(hours=1)
