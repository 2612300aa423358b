"""A callback token is in no line of a log, at no level and after no malformed request; nor in metrics, traces or tables."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

import httpx
import pytest

from app.callbacks.receive import SAMPLE_MAX, CallbackReceiver
from app.lifecycle.news import Claimed
from app.lifecycle.ownership import new_token
from app.storage.database import Database
from app.storage.receipts import ReceiptStore, StoredReceipt
from tests.crash.processes import Gateway, Process, running, running_emulator, wait_for
from tests.storage.factory import Factory
from tests.storage.watch import statements_of

TRACE = 5  #: uvicorn's own, below DEBUG

#: What a sender may get wrong; each holds the token.
MALFORMED = (
    b"POST /callbacks/%s",
    b"POST /callbacks/%s HTTP/9.9\r\n\r\n",
    b"POST /callbacks/%s HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
    b"POST /callbacks/%s HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    b"POST /callbacks/%s HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
    b"POST /callbacks/%s HTTP/1.1\r\nhost: x\r\nx: \0\r\n\r\n",
    b"POST /callbacks/%s HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /callbacks/%s HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nshort",
    b"POST /callbacks/%s\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /callbacks/%s\0 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST http://[x/callbacks/%s HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /callbacks/%s" + b"A" * 66_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GIVE /callbacks/%s HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /callbacks/%s HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    b"CONNECT callbacks/%s HTTP/1.1\r\nhost: x\r\n\r\n",
)

#: Sound requests with the token at places where it does not belong.
STRAY = (
    "/callbacks/{}",
    "/callbacks/{}/",
    "/callbacks//{}",
    "/callbacks/x?token={}",
    "/callbacks/{}%FF",
    "/jobs/{}",
    "/{}",
    "/?{}",
)


@pytest.mark.parametrize("level", [TRACE, logging.DEBUG])
def test_no_log_at_any_level_holds_a_token_whatever_comes_with_it(tmp_path: Path, level: int) -> None:
    with running_emulator(tmp_path) as emulator:
        gateway = Gateway(tmp_path, emulator, secret_key="only-the-tests-have-this-secret-key", image_store_url="off")
        with running(["-m", "tests.callbacks.loud_gateway"], {**gateway.environment, "LEVEL": str(level)}, tmp_path) as process:
            process.said(process.stderr, "ready at")
            job = gateway.accept("A red fox [[callback-double]] [[run=1]]")
            assert job is not None
            [task] = wait_for(lambda: emulator.tasks("A red fox"))
            token = task["callback_url"].rpartition("/")[2]
            assert len(token) == 43
            for secret in (token, "A" * 43):
                misuse(gateway, secret)
            gateway.settled(job)
            page = gateway._http.get("/metrics").text
            process.terminate()
            assert process.ended() == 0
        gateway.close()
    told = everything(process)
    assert "gateway_callbacks_total" in page
    for secret in (token, "A" * 43):
        assert secret not in told
        assert secret not in page
    lines = [json.loads(line) for line in process.stderr if line.startswith("{")]
    assert any(line["event"] == "callback" and line["outcome"] == "poked" for line in lines)
    assert any(line["logger"] == "uvicorn.error" for line in lines), "the malformed ones were noticed"


@pytest.mark.parametrize("escaped", [False, True], ids=["slashes", "escaped slashes"])
async def test_a_callback_that_repeats_its_address_is_kept_without_the_token(
    receiver: CallbackReceiver, factory: Factory, database: Database, escaped: bool
) -> None:
    body = json.dumps({"data": {"task_id": "task-1", "request": {"callback_url": "https://us.example/callbacks/TOKEN"}}})
    kept = await kept_of(receiver, factory, database, body.replace("/", r"\/") if escaped else body, "text/TOKEN")
    assert (kept.named_task_id, kept.content_type) == ("task-1", "text/[hidden]")
    assert kept.sample == (body.replace("/", r"\/") if escaped else body).replace("TOKEN", "[hidden]")


async def test_no_part_of_a_token_is_kept_where_a_sample_ends(
    receiver: CallbackReceiver, factory: Factory, database: Database
) -> None:
    kept = await kept_of(receiver, factory, database, " " * (SAMPLE_MAX - 10) + "TOKEN and more")
    assert kept.sample == " " * (SAMPLE_MAX - 10) + "[hidden] a"


async def test_a_body_full_of_its_token_is_kept_without_it(
    receiver: CallbackReceiver, factory: Factory, database: Database
) -> None:
    kept = await kept_of(receiver, factory, database, "TOKEN" * 20_000)
    assert kept.sample == ("[hidden]" * SAMPLE_MAX)[:SAMPLE_MAX]


async def test_a_token_is_no_name_of_a_task(receiver: CallbackReceiver, factory: Factory, database: Database) -> None:
    assert (await kept_of(receiver, factory, database, '{"task_id": "TOKEN"}')).named_task_id is None


async def kept_of(
    receiver: CallbackReceiver, factory: Factory, database: Database, body: str, content_type: str | None = None
) -> StoredReceipt:
    """What is kept of a callback in which TOKEN stands for its token; nothing that the database was sent holds that."""
    (life,) = await factory.queued()
    token, token_hash = new_token()
    await factory.tell(life.job.job_id, Claimed(token_hash))
    told = body.replace("TOKEN", token).encode()
    with statements_of(database) as sent:
        await receiver.receive(token, content_type and content_type.replace("TOKEN", token), told)
    assert sent
    assert token[:20] not in repr(sent)
    (kept,) = await ReceiptStore(database).of_job(life.job.job_id)
    assert kept.body_bytes == len(told)
    return kept


def misuse(gateway: Gateway, token: str) -> None:
    for request in MALFORMED:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as line:
            line.sendall(request % token.encode())
            line.shutdown(socket.SHUT_WR)
            try:
                while line.recv(65536):
                    pass
            except ConnectionError:
                pass
    for path in STRAY:
        for method in ("POST", "GET", "PUT"):
            answer = httpx.request(method, gateway.url + path.format(token), content=b"{}", trust_env=False)
            assert answer.status_code < 500, (method, path)
            assert token not in answer.text


def everything(process: Process) -> str:
    return "".join([*process.stdout, *process.stderr])
