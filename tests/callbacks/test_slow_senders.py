"""Hundreds of senders that drip, against `gateway serve` as it is: all others are served, and each of them is left in time."""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from app.cli.server import _listen
from tests.crash.processes import ADMIN_KEY, SECRET_KEY, UPSTREAM_KEY, Process, running, wait_for

EACH = 100  #: senders of each kind
PATIENCE = 100  #: seconds
TICK = 0.5  #: seconds between two bytes of one sender

#: What each kind sends first; after it, one byte at a time. The last never sends anything.
KINDS = {
    "head": b"GET /jobs HTTP/1.1\r\nhost: x\r\nx-drip: ",
    "callback": b"POST /callbacks/" + b"A" * 43 + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
    "job": b"POST /jobs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n"
    b"authorization: Bearer " + ADMIN_KEY.encode() + b"\r\n\r\n",
    "stranger": b"POST /jobs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n",
    "silent": b"",
}


class Drippers:
    """Connections that each send a byte from time to time, and note what they are told until they are closed."""

    def __init__(self, address: tuple[str, int], opened: ExitStack) -> None:
        self._selector = opened.enter_context(selectors.DefaultSelector())
        self.told: dict[socket.socket, bytes] = {}
        self.kind: dict[socket.socket, str] = {}
        self.open: set[socket.socket] = set()
        for kind, begin in KINDS.items():
            for _ in range(EACH):
                line = opened.enter_context(socket.create_connection(address, timeout=PATIENCE))
                line.sendall(begin)
                line.setblocking(False)
                self._selector.register(line, selectors.EVENT_READ)
                self.told[line], self.kind[line] = b"", kind
                self.open.add(line)

    def drip(self) -> None:
        for line in list(self.open):
            if self.kind[line] != "silent":
                self._guarded(line, lambda line=line: line.send(b"x") and None)

    def listen(self, seconds: float) -> None:
        """Takes in what comes meanwhile."""
        until = time.monotonic() + seconds
        while self.open and (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                line: socket.socket = key.fileobj  # type: ignore[assignment]
                self._guarded(line, line.recv, 65536)

    def _guarded(self, line: socket.socket, call: Callable[..., bytes | None], *arguments: int) -> None:
        try:
            got = call(*arguments)
        except BlockingIOError:
            return
        except ConnectionError:
            got = b""
        if got:
            self.told[line] += got
        elif got == b"":
            self.open.discard(line)
            self._selector.unregister(line)

    def statuses(self, kind: str) -> set[bytes]:
        """What those of this kind were answered; empty where they were closed without a word."""
        return {told.split(b" ", 2)[1] if told else b"" for line, told in self.told.items() if self.kind[line] == kind}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'gateway.db'}",
        "GATEWAY_UPSTREAM_BASE_URL": "http://127.0.0.1:9",  # nobody is there: jobs wait
        "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
        "GATEWAY_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_SECRET_KEY": SECRET_KEY,
        "GATEWAY_IMAGE_STORE_URL": "off",
        "GATEWAY_LOG_FORMAT": "json",
    }


@pytest.fixture
def process(settings: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with running(["-m", "app", "serve", "--port", "0"], settings, tmp_path) as process:
        yield process


@pytest.mark.timeout(240)
def test_while_hundreds_drip_jobs_are_served_and_each_dripper_is_left_in_time(process: Process) -> None:
    url = httpx.URL(process.said(process.stderr, "listening on").split()[3])
    with ExitStack() as opened:
        key = {"Authorization": f"Bearer {ADMIN_KEY}"}
        api = opened.enter_context(httpx.Client(base_url=url, headers=key, trust_env=False, timeout=PATIENCE))
        assert api.get("/jobs").status_code == 200
        before = descriptors(process)
        drippers = Drippers((url.host, url.port or 80), opened)
        served, until = 0, time.monotonic() + PATIENCE
        while drippers.open:
            assert time.monotonic() < until, f"{len(drippers.open)} are still held"
            drippers.drip()
            assert api.post("/jobs", json={"prompt": f"A red fox, number {served}"}).status_code == 202
            assert api.get("/jobs").status_code == 200
            served += 1
            drippers.listen(TICK)
        assert served > 1, "they were served while the others dripped"
        assert drippers.statuses("head") <= {b"408", b""}
        assert b"408" in drippers.statuses("head")
        assert drippers.statuses("silent") == {b""}
        assert b"408" in drippers.statuses("callback"), "the deadline of the body: 5 s"
        assert b"408" in drippers.statuses("job"), "the deadline of the body: 10 s"
        assert drippers.statuses("stranger") == {b"401"}, "each of them was taken, and answered"
        wait_for(lambda: descriptors(process) <= before + 5)
        assert len(api.get("/jobs", params={"limit": 200}).json()["jobs"]) == min(served, 200)
    assert not [line for line in process.stderr if "Traceback" in line or '"error"' in line]


def descriptors(process: Process) -> int:
    """How many files and connections the process has open."""
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
sys.argv = ["gateway", "serve", "--port", "0"]
runpy.run_module("app", run_name="__main__")
"""


@pytest.mark.parametrize(("hard", "gets", "connections"), [(9000, 8600, None), (700, 700, 100)])
def test_as_many_descriptors_are_asked_for_as_the_connections_take(
    settings: dict[str, str], tmp_path: Path, hard: int, gets: int, connections: int | None
) -> None:
    with running(["-c", LIMITED.format(soft=256, hard=hard)], settings, tmp_path) as process:
        url = process.said(process.stderr, "listening on").split()[3]
        assert httpx.get(f"{url}/healthz", trust_env=False, timeout=PATIENCE).status_code == 200
        limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(r"Max open files +(\d+)", limits)[1] == str(gets)  # type: ignore[index]
    told = [json.loads(line) for line in process.stderr if "few descriptors" in line]
    assert [line["connections"] for line in told] == ([] if connections is None else [connections])


def test_a_connection_too_many_is_told_so_as_a_problem(settings: dict[str, str], tmp_path: Path) -> None:
    with running(["-c", LIMITED.format(soft=630, hard=630)], settings, tmp_path) as process, ExitStack() as opened:
        url = httpx.URL(process.said(process.stderr, "listening on").split()[3])
        for _ in range(50):  # as many as are served; each waits for its job
            line = opened.enter_context(socket.create_connection((url.host, url.port or 80), timeout=PATIENCE))
            line.sendall(WAIT % (len(BODY), BODY))
        answer = wait_for(lambda: crowded(url))
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "too_many_connections"
    assert answer.json()["detail"] == "Too many connections at once; try again."
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


BODY = b'{"prompt": "A red fox"}'
WAIT = (
    b"POST /jobs HTTP/1.1\r\nhost: x\r\nprefer: wait=60\r\ncontent-type: application/json\r\nauthorization: Bearer "
    + ADMIN_KEY.encode()
    + b"\r\ncontent-length: %d\r\n\r\n%s"
)


def crowded(url: httpx.URL) -> httpx.Response | None:
    answer = httpx.get(url, trust_env=False, timeout=PATIENCE)
    return answer if answer.status_code == 503 else None


def test_what_a_client_does_not_acknowledge_is_given_up_after_a_minute_on_every_connection() -> None:
    """Where the system has such a limit: Linux does."""
    limit = getattr(socket, "TCP_USER_TIMEOUT", None)
    with closing(_listen("127.0.0.1", 0)) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE):
            taken, _ = listener.accept()
            with taken:
                assert limit is None or taken.getsockopt(socket.IPPROTO_TCP, limit) == 60_000
