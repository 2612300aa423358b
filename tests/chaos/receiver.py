"""A caller's receiver of deliveries: notes what comes, and answers, fails, hangs or is gone as it is told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mood(Enum):
    WELL = 204
    FAILING = 500
    HANGING = 0  #: takes the request and says nothing, until the mood passes
    GONE = -1  #: nobody listens at the port


@dataclass(frozen=True)
class Arrival:
    """A delivery that came, and what it was answered."""

    at: datetime
    headers: dict[str, str]
    body: bytes
    status: int | None  #: None where nothing was answered


@dataclass
class Receiver:
    """Serves at one loopback port, in threads of its own, until it is closed."""

    port: int = 0
    arrivals: list[Arrival] = field(default_factory=list)
    _mood: Mood = Mood.WELL
    _passed: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    def __post_init__(self) -> None:
        self._open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def be(self, mood: Mood) -> None:
        was, self._mood = self._mood, mood
        self._passed.set()
        self._passed = threading.Event()
        if mood is Mood.GONE:
            self.close()
        elif was is Mood.GONE:
            self._open()

    def close(self) -> None:
        if self._server is not None:
            self._passed.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, headers: dict[str, str], body: bytes) -> int | None:
        mood, passed = self._mood, self._passed
        status = mood.value if mood in (Mood.WELL, Mood.FAILING) else None
        self.arrivals.append(Arrival(datetime.now(UTC), headers, body, status))
        if mood is Mood.HANGING:
            passed.wait()
        return status

    def _open(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _handler_of(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # one that hangs would hold up the end

    def handle_error(self, *_: object) -> None:
        """The gateway was killed amid its call; its own affair."""


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            status = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            if status is not None:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    return Handler
