"""What callers write is text on every page, whatever it looks like."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID, uuid4

from markupsafe import escape
from sqlalchemy import insert

from app.lifecycle.states import ErrorCode, JobState
from app.storage import tables as t
from app.storage.database import Database
from tests.acceptance.stage import ADMIN_KEY, PATIENCE, Stage, client
from tests.access.test_every_route_is_guarded import walk
from tests.console.test_signing_in import session_of
from tests.databases import OpenDatabase
from tests.listing.rows import JobRow, add

MARK = "<mark x='qq'>qz\"zq&amp;qv"  #: of each kind of sign that means something to a browser
ORIGIN = f"https://hooks.example/{MARK}"  #: the API lets in no such origin and no such tenant; pages do not rely on it
RAW = ("<mark x", "='qq", "qq'", ">qz", 'qz"', "zq&amp;qv")  #: what a page would hold if a sign were left as it is
NO_PAGES = {"/console/{path:path}", "/console/static/{name:path}", "/console/sign-in", "/console/jobs/export"}


async def test_what_callers_write_is_text_on_every_page(stage: Stage, sqlite_url: str, open_database: OpenDatabase) -> None:
    await stage.api.post("/dispatch/pause")
    job_id = await _written(open_database(sqlite_url), datetime.now(UTC))
    key = (await stage.api.post("/keys", json={"tenant": "acme", "name": MARK, "scopes": ["jobs:read"]})).json()
    asked = {"kind": "retry", "filter": {"q": f"fox {MARK}", "state": ["failed"]}}
    operation = (await stage.api.post("/operations", json=asked)).json()
    async with asyncio.timeout(PATIENCE):  # the retry is what the overview tells of: credits that are held
        while (await stage.api.get(f"/operations/{operation['id']}")).json()["state"] == "running":
            pass
    ids = {"job_id": job_id, "operation_id": operation["id"], "key_id": key["id"], "name": quote(MARK, safe="")}
    paths = {path for path, methods in walk(stage.app.routes) if path.startswith("/console") and "GET" in methods} - NO_PAGES
    assert {"/console", "/console/jobs/{job_id}", "/console/deliveries", "/console/tenants/{name}"} <= paths
    async with client(stage.url, None) as admin:
        await session_of(admin, ADMIN_KEY)
        for path in sorted(paths):
            query = {"kind": "retry", "q": f"a fox {MARK}", "state": "failed"} if path.endswith("/ask") else None
            answer = await admin.get(path.format(**ids), params=query)
            assert answer.status_code == 200, path
            assert str(escape(MARK)) in answer.text, f"{path} does not show it"
            assert [sign for sign in RAW if sign in answer.text] == [], path
        about_the_job = (await admin.get(f"/console/jobs/{job_id}")).text
    assert about_the_job.count(str(escape(MARK))) >= 7, "prompt, tenant, two of metadata, key, origin, attempt"


async def _written(database: Database, now: datetime) -> UUID:
    """A job with the mark wherever it can be, and a delivery of it that fails."""
    job = JobRow(
        state=JobState.FAILED, error_code=ErrorCode.TASK_LOST, created_at=now, tenant=MARK, prompt=f"a fox {MARK}",
        metadata={MARK: MARK}, idempotency_key=MARK,
    )  # fmt: skip
    delivery_id = uuid4()
    await add(database, job)
    async with database.writing() as connection:
        delivery = {"delivery_id": delivery_id, "job_id": job.job_id, "tenant": MARK, "origin": ORIGIN, "url": ORIGIN}
        failing_once = {"state": "pending", "attempts": 1, "last_error": MARK, "created_at": now}
        kind = {"type": "job.failed", "format": "signed"}
        await connection.execute(insert(t.deliveries).values({**delivery, **failing_once, **kind}))
        attempt = {"delivery_id": delivery_id, "number": 1, "at": now, "milliseconds": 1, "error": MARK, "excerpt": MARK}
        await connection.execute(insert(t.delivery_attempts).values(attempt))
        failing = {"tenant": MARK, "origin": ORIGIN, "failing_since": now, "failed_at": now, "parked_at": now}
        await connection.execute(insert(t.receivers).values(failing))
        await connection.execute(
            insert(t.audit).values(at=now, key_id=MARK, action=MARK, tenant=MARK, job_id=job.job_id, data={MARK: MARK})
        )
    return job.job_id
