"""The whole life with FastAPI and Celery on Redis; its tasks block, in threads that share pools of kept connections, or in
processes that have one of each.

The API: uvicorn tests.benchmarks.baselines.celery_life:app
The worker: celery -A tests.benchmarks.baselines.celery_life:queue worker --pool threads|prefork --concurrency 16
"""

from __future__ import annotations

import os
import uuid
from contextlib import nullcontext
from typing import Any

import urllib3
from celery import Celery, Task
from sqlalchemy import create_engine

from tests.benchmarks.baselines import life_rows as rows
from tests.benchmarks.baselines.life_routes import URL, Queue, make_app
from tests.benchmarks.baselines.life_tasks import HEADERS, UPSTREAM, generate_body

THREADS = 16  #: of a worker's process at most

queue = Celery("life", broker=os.environ["BENCH_REDIS_URL"])
queue.conf.update(
    task_ignore_result=True,  # what comes of a job is in the database
    task_acks_late=True,  # a worker that dies loses no task
    worker_prefetch_multiplier=16,
    worker_send_task_events=False,
)


engine = create_engine(URL, pool_size=THREADS, max_overflow=0)
http = urllib3.PoolManager(maxsize=THREADS, headers=HEADERS, timeout=30.0, retries=False)


@queue.task
def submit(job_id: str) -> None:
    job_uuid = uuid.UUID(job_id)
    with engine.begin() as connection:
        job = connection.execute(rows.sending(job_uuid)).first()
    if job is None:
        return
    task_id = _data(http.request("POST", f"{UPSTREAM}/api/generate", body=generate_body(job)))["task_id"]
    with engine.begin() as connection:
        connection.execute(rows.sent(job_uuid, task_id))
        connection.execute(rows.happened(job_uuid, "submitted", task_id=task_id))


@queue.task(bind=True)
def check(self: Task, job_id: str) -> None:
    job_uuid = uuid.UUID(job_id)
    with engine.connect() as connection:
        row = connection.execute(rows.task_of(job_uuid)).first()
    if row is None:
        return
    if row.task_id is None:  # the callback was faster than our own record of the submit
        raise self.retry(countdown=1)
    data = _data(http.request("GET", f"{UPSTREAM}/api/status", fields={"task_id": row.task_id}))
    if (state := rows.END_STATES.get(data["status"])) is None:
        return
    with engine.begin() as connection:
        if connection.execute(rows.settled(job_uuid, state, data)).first():
            connection.execute(rows.happened(job_uuid, state, credits=data["consumed_credits"]))


def _data(answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    if answer.status != 200:
        raise RuntimeError(f"HTTP {answer.status}")
    data: dict[str, Any] = answer.json()["data"]
    return data


# Handing a task over blocks the loop for a round trip to Redis; a thread for each would cost more than that.
async def hand_over(task: Task, job_id: uuid.UUID) -> None:
    task.delay(str(job_id))


app = make_app(
    Queue(
        nullcontext,
        submit=lambda _, job_id: hand_over(submit, job_id),
        check=lambda _, job_id: hand_over(check, job_id),
    )
)
