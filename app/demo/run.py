"""Runs the scenes: accepts them over HTTP, watches them, fetches their pictures, and compares the books."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from app.demo.plan import Scene
from app.demo.stage import Stage

WATCH_SECONDS = 120.0  #: the demo gives up on a job after this
POSTS_MAX = 20  #: at once, so that looks need not wait behind hundreds of them
LOOK_SECONDS = 0.15  #: between two looks at a job, where there are few
LOOKS_MAX = 100  #: a second, at all jobs together; but a job that is to be canceled while it runs is looked at all the time


@dataclass(slots=True)
class Played:
    """A scene being played."""

    number: int
    scene: Scene
    began: float
    job: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    picture: Path | None = None
    faults: list[str] = field(default_factory=list)  #: what is not as it should be

    @property
    def state(self) -> str:
        return str(self.job.get("state", "sending"))

    @property
    def is_over(self) -> bool:
        return self.job.get("finished_at") is not None


@dataclass(frozen=True, slots=True)
class Books:
    """The gateway's books beside the emulator's account."""

    gateway: int
    unresolved: int
    emulator: int
    tasks: int

    @property
    def agree(self) -> bool:
        return self.gateway == self.emulator and self.unresolved == 0


async def play(stage: Stage, scenes: Sequence[Scene], tell: Callable[[Played], None]) -> tuple[list[Played], Books]:
    """Plays all scenes at once. `tell` hears of each whenever its state changes, and of all of them twice a second."""
    headers = {"Authorization": f"Bearer {stage.api_key}"}
    limits = httpx.Limits(max_connections=50, keepalive_expiry=2)  # seconds; before the gateway closes what is idle
    async with httpx.AsyncClient(base_url=stage.gateway_url, headers=headers, trust_env=False, limits=limits) as gateway:
        played = [Played(number, scene, time.monotonic()) for number, scene in enumerate(scenes, 1)]
        every, room = max(LOOK_SECONDS, len(played) / LOOKS_MAX), asyncio.Semaphore(POSTS_MAX)
        await asyncio.gather(*(_play(gateway, one, tell, room, LOOK_SECONDS if one.scene.cancel else every) for one in played))
        pictures = stage.folder / "pictures"
        pictures.mkdir(exist_ok=True)
        for one in played:
            await _fetch_picture(gateway, one, pictures)
            _compare(one)
        books = await _books(gateway, stage, played)
    return played, books


async def _play(
    gateway: httpx.AsyncClient, one: Played, tell: Callable[[Played], None], room: asyncio.Semaphore, every: float
) -> None:
    async with room:
        one.job = (await _post(gateway, "/jobs", one.scene.request)).json()
    tell(one)
    canceled = False
    while not one.is_over and one.seconds < WATCH_SECONDS:
        await asyncio.sleep(every)
        was = one.state
        one.job = (await gateway.get(f"/jobs/{one.job['id']}")).raise_for_status().json()
        one.seconds = time.monotonic() - one.began
        if one.scene.cancel and not canceled and one.state == "running":
            await _post(gateway, f"/jobs/{one.job['id']}/cancel")
            canceled = True
        if one.state != was:
            tell(one)


async def _post(gateway: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    return (await gateway.post(path, json=body, timeout=30)).raise_for_status()


async def _fetch_picture(gateway: httpx.AsyncClient, one: Played, folder: Path) -> None:
    for image in one.job.get("images", [])[:1]:
        answer = await gateway.get(image["url"], follow_redirects=True, timeout=30)
        if answer.status_code != 200:
            one.faults.append(f"its picture answered {answer.status_code}")
            return
        with Image.open(io.BytesIO(answer.content)) as picture:
            found = f"{picture.width}*{picture.height} {(picture.format or '').lower()}"
        wanted = f"{one.job['size']} {one.job['output_format']}"
        if found != wanted:
            one.faults.append(f"its picture is {found}, not {wanted}")
        one.picture = (
            folder / f"{one.number:02}-{one.scene.title.replace(' ', '-').replace(',', '')}.{one.job['output_format']}"
        )
        one.picture.write_bytes(answer.content)


def _compare(one: Played) -> None:
    scene, job = one.scene, one.job
    if not one.is_over:
        one.faults.append(f"still {one.state} after {WATCH_SECONDS:g} s")
        return
    expected = {"state": scene.state, "credits.consumed": scene.credits, "credits.reserved": 0, **scene.checks}
    for path, wanted in expected.items():
        found: Any = job
        for part in path.split("."):
            found = (found or {}).get(part)
        if found != wanted:
            one.faults.append(f"{path} is {found}, not {wanted}")
    if job["completed_via"] not in scene.via:
        one.faults.append(f"settled via {job['completed_via']}, not {' or '.join(scene.via)}")
    if scene.state == "succeeded" and one.picture is None:
        one.faults.append("it has no picture")


async def _books(gateway: httpx.AsyncClient, stage: Stage, played: Sequence[Played]) -> Books:
    jobs = [(await gateway.get(f"/jobs/{one.job['id']}")).raise_for_status().json() for one in played]
    async with httpx.AsyncClient(trust_env=False) as client:
        account = (await client.get(f"{stage.emulator_url}/control/account")).raise_for_status().json()
    return Books(
        gateway=sum(job["credits"]["consumed"] for job in jobs),
        unresolved=sum(job["credits"]["unresolved"] for job in jobs),
        emulator=sum(task["consumed_credits"] for task in account["tasks"]),
        tasks=len(account["tasks"]),
    )
