"""What a key may do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """What a key may do."""

    JOBS_WRITE = "jobs:write"  #: accept, cancel and retry jobs
    JOBS_READ = "jobs:read"  #: see the tenant's own jobs
    ADMIN = "admin"  #: everything, for every tenant
