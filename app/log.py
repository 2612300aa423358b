"""Structured logs, one line an event. Secrets, keys and callback tokens are never among the fields."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure(log_format: Literal["json", "console"] | None = None, level: int = logging.INFO) -> None:
    """Sends all logs, the libraries' as well, to standard error: JSON lines, or readable ones on a terminal."""
    console = log_format == "console" or (log_format is None and sys.stderr.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    formatting: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not console:
        formatting.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[*formatting, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    _quieten()


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
