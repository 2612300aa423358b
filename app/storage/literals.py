"""Words of ours in conditions, as literals: as parameters they would defeat the partial indexes."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ColumnElement, literal_column

from app.lifecycle import states
from app.lifecycle.states import Outcome, Priority
from app.storage import tables as t


def literal_of(one: StrEnum) -> ColumnElement[str]:
    """A word of an enum of ours; never a stranger's, for it is not escaped."""
    return literal_column(f"'{one.value}'")


QUEUED = t.jobs.c.state == literal_column("'queued'")
UNCONFIRMED = t.jobs.c.state == literal_column("'unconfirmed'")
OPEN = t.submissions.c.outcome == literal_column("'open'")
NAMES_A_TASK = t.submissions.c.candidates != literal_column("'[]'")  #: a callback of it, or an operator, did
READ_TO_THE_END = t.submissions.c.outcome.in_([literal_of(o) for o in Outcome if o in states.READ_TO_THE_END])
PENDING = t.deliveries.c.state == literal_column("'pending'")
#: Each by itself, so that an index that begins with the priority can be sought for one.
PRIORITY: dict[Priority, ColumnElement[int]] = {p: literal_column(str(int(p))) for p in Priority}
