"""Lines of the log that cannot be written."""

from __future__ import annotations

import io
import logging

import structlog

from app import log


class _FullDisk(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, _data: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_stops_nobody() -> None:
    """It is logged after a commit, too: an accepted job must not fail over its line."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log.configure("json", stream=io.TextIOWrapper(_FullDisk(), write_through=True))  # type: ignore[type-var]
        structlog.configure(cache_logger_on_first_use=False)
        told = structlog.get_logger("app.intake")
        for write in (told.debug, told.info, told.warning, told.error, told.critical, told.exception):
            write("accepted", job_id="1")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
