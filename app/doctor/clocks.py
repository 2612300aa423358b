"""Does this machine's clock agree with the others'?"""

from __future__ import annotations

from datetime import datetime, timedelta

from app.clock import Clock
from app.doctor.ages import spoken
from app.doctor.finding import Finding, ok, warning, wrong
from app.storage.database import Database

CHECK, UPSTREAM_CHECK = "clock", "upstream clock"
SKEW_MAX = timedelta(seconds=5)  #: said beyond it
SKEW_WRONG = timedelta(minutes=1)  #: signatures and signed links live by minutes
SECOND = timedelta(seconds=1)  #: what the `Date` of HTTP leaves out
_TODO = "set both machines' clocks by NTP; deliveries are signed with the time, and receivers refuse what is off by minutes"


async def look_at_clock(database: Database, clock: Clock) -> Finding:
    """Our clock against the database's, which all replicas go by."""
    if database.is_sqlite:
        return ok(CHECK, "the process's own; SQLite has no other")
    before = clock()
    async with database.reading() as connection:
        told = await database.now(connection)
    skew = apart(told, before, clock())
    if skew > SKEW_WRONG:
        return wrong(CHECK, f"{spoken(skew)} apart from the database's", _TODO)
    if skew > SKEW_MAX:
        return warning(CHECK, f"{spoken(skew)} apart from the database's", _TODO)
    return ok(CHECK, "agrees with the database's")


def judge_upstream_clock(told: datetime | None, before: datetime, after: datetime) -> Finding:
    """Our clock against the `Date` of an answer that came between two instants. Whose fault it is, nobody can say from here."""
    if told is None:
        return ok(UPSTREAM_CHECK, "not told")
    skew = apart(told, before, after, SECOND)
    if skew > SKEW_MAX:
        return warning(UPSTREAM_CHECK, f"{spoken(skew)} apart from ours", "see that this machine's clock is set by NTP")
    return ok(UPSTREAM_CHECK, "agrees with ours")


def apart(told: datetime, before: datetime, after: datetime, precision: timedelta = timedelta(0)) -> timedelta:
    """By how much, at least, another clock is off that told its time between two instants of ours."""
    return max(told - after, before - (told + precision), timedelta(0))
