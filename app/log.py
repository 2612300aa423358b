"""Structured logs, one line an event. Secrets, keys and callback tokens are never among the fields.

Our own lines go straight to the stream: the standard library's way to it would cost as much as all else that is done for a
request. What libraries log comes by that way, and looks the same.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from typing import Any, Literal, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.typing import Processor

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(
    log_format: Literal["json", "console"] | None = None, level: int = logging.INFO, stream: TextIO | None = None
) -> None:
    """Sends all logs, the libraries' as well, to `stream`, or to standard error: JSON lines, or readable ones on a terminal."""
    stream = stream or sys.stderr
    console = log_format == "console" or (log_format is None and stream.isatty())
    rendered: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
    )
    handler = logging.StreamHandler(stream)
    of_libraries = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=of_libraries))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[*_SHARED, *rendered, _encoded],
        logger_factory=lambda name=None: _Lines(stream.buffer, name=name),
        wrapper_class=structlog.make_filtering_bound_logger(level - level % 10),
        cache_logger_on_first_use=True,
    )
    _quieten()


class _Lines(structlog.BytesLogger):
    """Writes lines. One that cannot be written is lost, on a full disk for instance: whoever logs it goes on."""

    def msg(self, message: bytes) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    debug = info = warning = error = critical = msg


def _json(event: Any, **_: Any) -> str:
    """ASCII only: a terminal takes some of the other characters for commands."""
    try:
        return to_json(event, ensure_ascii=True, serialize_unknown=True).decode()
    except PydanticSerializationError:  # a lone surrogate
        return json.dumps(event, default=repr)


def _encoded(_logger: Any, _method: str, line: Any) -> bytes:
    return str(line).encode("utf-8", "backslashreplace")


def _quieten() -> None:
    """The clients log whole addresses, and the server whole paths: a callback's token would be in them."""
    for name in ("httpx", "httpcore", "aiohttp", "asyncio", "aiosqlite", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It would tell of a collector that is down with every batch, and of a bad header with its value; app.traces says it once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate, access.disabled = [], False, True
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.WARNING)
