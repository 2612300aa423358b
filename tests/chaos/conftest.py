"""How much, and by which dice: GATEWAY_CHAOS_JOBS (a few, by default) and GATEWAY_CHAOS_SEED (another one each time)."""

from __future__ import annotations

import os
from random import SystemRandom

import pytest

FEW = 80  #: enough for each fault to be asked for by one of them


def wanted_jobs() -> int:
    return int(os.environ.get("GATEWAY_CHAOS_JOBS") or FEW)


def rounds_of(jobs: int) -> int:
    return max(1, jobs // 300)


@pytest.fixture
def jobs() -> int:
    """How many jobs are ordered at least."""
    return wanted_jobs()


@pytest.fixture
def seed() -> int:
    """Printed with whatever fails: the same one gives the same jobs, and the same faults in the same order."""
    return int(os.environ.get("GATEWAY_CHAOS_SEED") or SystemRandom().randrange(2**31))


@pytest.fixture
def rounds(jobs: int) -> int:
    """How often all of it goes wrong."""
    return rounds_of(jobs)
