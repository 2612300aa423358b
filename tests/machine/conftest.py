from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.machine.surprises import keep_surprises


@pytest.fixture(autouse=True)
def _logs_kept() -> Iterator[None]:
    """Nothing is printed; what a duty could not explain is kept, and the machine fails on it."""
    before = structlog.get_config()
    structlog.configure(processors=[keep_surprises])
    yield
    structlog.configure(**before)
