"""Java's HttpClient offers HTTP/2 with each request over plain http; what it sends arrives whole, however it is packed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.processes import (
    ADMIN_KEY,
    PATIENCE,
    SECRET_KEY,
    Emulator,
    Gateway,
    Process,
    running,
    running_emulator,
    wait_for,
)

HEAD = (
    "POST {path} HTTP/1.1\r\nconnection: Upgrade, HTTP2-Settings\r\ncontent-length: {size}\r\nhost: x\r\n"
    "http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nupgrade: h2c\r\ncontent-type: application/json\r\n"
    f"authorization: Bearer {ADMIN_KEY}\r\n"
)
PACKETS = ["one", "two"]


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with running_emulator(tmp_path) as emulator:
        yield emulator


@pytest.fixture
def gateway(emulator: Emulator, tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, emulator, secret_key=SECRET_KEY, image_store_url="off", log_format="json")
    yield gateway
    gateway.close()


@pytest.fixture
def process(gateway: Gateway, tmp_path: Path) -> Iterator[Process]:
    with running(["-m", "app", "serve", "--port", str(gateway.port)], gateway.environment, tmp_path) as process:
        process.said(process.stderr, "listening on")
        yield process


def test_jobs_and_callbacks_with_an_offer_to_upgrade_keep_their_bodies(
    emulator: Emulator, gateway: Gateway, process: Process
) -> None:
    for packets in PACKETS:
        status, answer = sent(gateway, "/jobs", {"prompt": f"A red fox in {packets} [[run=3600]]"}, packets)
        assert (status, answer["state"]) == (202, "queued"), answer
    [task] = wait_for(lambda: emulator.tasks("A red fox in one"))
    path = task["callback_url"].removeprefix(gateway.url)
    for number, packets in enumerate(PACKETS):
        body = {"data": {"task_id": "x" * (number + 1)}}
        assert sent(gateway, path, body, packets)[0] == 204
        told = wait_for(lambda seen=number: [json.loads(line) for line in callbacks(process)][seen:])
        assert told[-1]["bytes"] == len(json.dumps(body))


def sent(gateway: Gateway, path: str, body: dict[str, Any], packets: str) -> tuple[int, Any]:
    """The status and the body of the answer; of two packets, the second is sent once the server has asked for it."""
    content = json.dumps(body).encode()
    head = HEAD.format(path=path, size=len(content)).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as line, line.makefile("rb") as answers:
        if packets == "one":
            line.sendall(head + b"\r\n" + content)
        else:
            line.sendall(head + b"expect: 100-continue\r\n\r\n")
            assert answers.readline().split()[1] == b"100"
            assert answers.readline() == b"\r\n"
            line.sendall(content)
        status = int(answers.readline().split()[1])
        fields = dict(field.lower().rstrip().split(b": ", 1) for field in iter(answers.readline, b"\r\n"))
        told = answers.read(int(fields.get(b"content-length", 0)))
    return status, json.loads(told) if told else None


def callbacks(process: Process) -> list[str]:
    return [line for line in process.stderr if '"event":"callback"' in line.replace(": ", ":")]
