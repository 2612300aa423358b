"""The numbers that the life of a job depends on, as one value that is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Durations and counts; the defaults are the contract's. Settings fill the first nine; the others are as they are here."""

    queue_deadline: timedelta = timedelta(hours=24)  #: from accept; what is still or again queued then fails
    submit_attempts: int = 10  #: sends of one job, each but the last proven not accepted
    unconfirmed_wait: timedelta = timedelta(minutes=15)  #: how long an unconfirmed job waits for its callback
    job_deadline: timedelta = timedelta(minutes=30)  #: from the send; then one last check, which must be answered
    hard_deadline: timedelta = timedelta(hours=24)  #: from the send; then the books close, answered or not
    callback_grace: timedelta = timedelta(seconds=15)  #: from the confirmation to the first check
    poll_min: timedelta = timedelta(seconds=5)  #: shortest interval between checks
    poll_max: timedelta = timedelta(seconds=60)  #: longest interval between checks
    callbacks_expected: bool = True  #: False without PUBLIC_BASE_URL: nobody will call back

    lease: timedelta = timedelta(seconds=60)  #: how long a claim may take to send and to record the answer
    check_lease: timedelta = timedelta(seconds=30)  #: how long a check may take before another may repeat it
    check_spacing: timedelta = timedelta(seconds=2)  #: least distance between two checks of one submission
    young: timedelta = timedelta(seconds=60)  #: a 404 within this time of the last news of a task proves nothing
    lost_after: timedelta = timedelta(minutes=10)  #: a task is lost after 404s for this long…
    lost_count: int = 6  #: …and this many of them, while other tasks answer
    candidates_max: int = 3  #: task ids that callbacks and operators may name for one submission
    retry_min: timedelta = timedelta(seconds=1)  #: first pause after a proven refusal; doubles
    retry_max: timedelta = timedelta(minutes=5)  #: longest such pause
