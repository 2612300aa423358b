"""What operators send: the body of `POST /operations`, checked."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from app.job_query.filters import JobQuery
from app.lifecycle.operation import FINDS_WORK, OperationKind
from app.operations.scope import narrowed, stored
from app.problems import FieldProblem, invalid
from app.storage.job_filter import JobFilter

BODY_MAX = 128 * 1024  #: bytes; the largest valid body is well under this
JOBS_MAX = 1000  #: in a list; for more there are filters


class OperationRequest(BaseModel):
    """The body of `POST /operations`: a filter, or a list of jobs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"kind": "retry", "filter": {"state": ["failed"], "error_code": "task_lost"}}]},
    )

    kind: OperationKind = Field(description="What to do to each job, as the route of that name does it.")
    filter: JobQuery | None = Field(
        None,
        description="The filters of `GET /jobs`, at least one of them; `state` is a list and `metadata` an object. Covers the "
        "jobs that were made before the operation, and of these the ones in a state in which there is something to do.",
    )
    jobs: Annotated[list[UUID], Field(min_length=1, max_length=JOBS_MAX)] | None = Field(
        None, description="Ids of jobs, instead of a filter; at most 1000."
    )
    accept_double_billing: StrictBool = Field(
        False, description="For `retry`: also jobs of which nobody knows whether their first try was billed."
    )
    dry_run: StrictBool = Field(False, description="Only count the jobs; nothing is made.")

    def wanted(self) -> JobFilter | None:
        """The jobs of its filter in which there is something to do; None where it lists jobs.

        Raises:
            Problem: 422, not exactly one of the two, or a filter that says nothing, or that can find nothing.
        """
        if (self.filter is None) == (self.jobs is None):
            raise _refused("filter", "give either a filter or jobs")
        if self.accept_double_billing and self.kind is not OperationKind.RETRY:
            raise _refused("accept_double_billing", "give it with retry alone")
        if self.filter is None:
            return None
        if not stored(self.filter):
            raise _refused("filter", "name at least one filter, a state perhaps: this would be every job of every tenant")
        found = narrowed(self.filter.wanted(), self.kind)
        if found is None:
            states = ", ".join(sorted(FINDS_WORK[self.kind]))
            raise _refused("filter.state", f"there is nothing to {self.kind} in these states; there is in {states}")
        return found

    def job_ids(self) -> tuple[UUID, ...] | None:
        """The listed jobs, each once."""
        return tuple(dict.fromkeys(self.jobs)) if self.jobs is not None else None

    def fingerprint(self) -> bytes:
        """SHA-256 of what is asked for: what makes two requests the same."""
        asked: dict[str, Any] = {
            "kind": self.kind,
            "filter": stored(self.filter) if self.filter is not None else None,
            "jobs": [str(job_id) for job_id in self.job_ids() or ()],
            "accept_double_billing": self.accept_double_billing,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


def _refused(field: str, message: str) -> Exception:
    return invalid([FieldProblem(field=field, message=message)])
