"""Runs an emulator as a process of its own."""

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from app.emulator.options import EmulatorOptions
from app.emulator.web import create_emulator

#: Seconds which answers held back are given when the process is told to stop.
GRACE_SECONDS = 1


def open_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one. Raises ``OSError`` when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """The address under which a client on this machine reaches a bound socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(options: EmulatorOptions, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; calls ``on_ready`` once requests are answered and signals are minded."""
    # The server raises the signals it has obeyed once more; without these handlers they would then end the process
    # with a failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _obeyed)
    config = uvicorn.Config(
        create_emulator(options),
        access_log=False,
        # Answers broken off on purpose would be logged as errors of the application.
        log_level="critical",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _AnnouncedServer(config, on_ready).run(sockets=[listener])


def _obeyed(_number: int, _frame: FrameType | None) -> None:
    return


class _AnnouncedServer(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()
