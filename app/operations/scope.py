"""Which jobs an operation covers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from app.job_query.filters import JobQuery
from app.lifecycle.operation import FINDS_WORK, OperationKind
from app.storage.job_filter import JobFilter
from app.storage.operations import Operation


def scope_of(operation: Operation) -> JobFilter | None:
    """The jobs of an operation's filter that were made before it; None where it has a list of jobs."""
    if operation.filter is None:
        return None
    return narrowed(JobQuery.model_validate(dict(operation.filter)).wanted(), operation.kind, operation.created_at)


def narrowed(wanted: JobFilter, kind: OperationKind, before: datetime | None = None) -> JobFilter | None:
    """Those of the wanted jobs that are in a state in which this kind finds something to do; None where there can be none."""
    states = tuple(sorted(state for state in FINDS_WORK[kind] if not wanted.states or state in wanted.states))
    if not states:
        return None
    ends = [instant for instant in (wanted.created_before, before) if instant is not None]
    return replace(wanted, states=states, created_before=min(ends, default=None))


def stored(query: JobQuery) -> dict[str, Any]:
    """The filter by the names of `GET /jobs`, in values of JSON; what is as by default is left out."""
    values = query.model_dump(mode="json", exclude_defaults=True)
    return {**values, "state": sorted(set(values["state"]))} if "state" in values else values
