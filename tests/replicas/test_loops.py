"""The loop of a duty: what it does after a sweep that failed."""

from __future__ import annotations

import asyncio

from app.errors import StorageUnavailableError
from app.loops import Loop, Wake


async def test_no_ring_makes_a_duty_that_fails_try_without_end() -> None:
    tries, wake = 0, Wake()
    tried = asyncio.Event()

    async def fail() -> float | None:
        nonlocal tries
        tries += 1
        tried.set()
        raise StorageUnavailableError("away")

    loop = Loop("dispatch", fail, floor=60, wake=wake)
    running = asyncio.create_task(loop.run())
    await tried.wait()
    for _ in range(100):
        wake.ring()
        await asyncio.sleep(0)
    assert tries == 1
    loop.stop()
    await running
