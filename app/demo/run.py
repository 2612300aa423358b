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

WATCH_SECONDS = 45.0  #: the demo gives up on a job after this


@dataclass(slots=True)
class Act:
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


async def play(stage: Stage, scenes: Sequence[Scene], tell: Callable[[Act], None]) -> tuple[list[Act], Books]:
    """Plays all scenes at once. `tell` hears of every act whenever its state changes, and of all of them twice a second."""
    headers = {"Authorization": f"Bearer {stage.api_key}"}
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=stage.gateway_url, headers=headers, trust_env=False, limits=limits) as gateway:
        acts = [Act(number, scene, time.monotonic()) for number, scene in enumerate(scenes, 1)]
        await asyncio.gather(*(_play(gateway, act, tell) for act in acts))
        pictures = stage.folder / "pictures"
        pictures.mkdir(exist_ok=True)
        for act in acts:
            await _fetch_picture(gateway, act, pictures)
            _compare(act)
        books = await _books(gateway, stage, acts)
    return acts, books


async def _play(gateway: httpx.AsyncClient, act: Act, tell: Callable[[Act], None]) -> None:
    act.job = (await _post(gateway, "/jobs", act.scene.request)).json()
    tell(act)
    canceled = False
    while not act.is_over and act.seconds < WATCH_SECONDS:
        await asyncio.sleep(0.15)
        was = act.state
        act.job = (await gateway.get(f"/jobs/{act.job['id']}")).raise_for_status().json()
        act.seconds = time.monotonic() - act.began
        if act.scene.cancel and not canceled and act.state == "running":
            await _post(gateway, f"/jobs/{act.job['id']}/cancel")
            canceled = True
        if act.state != was:
            tell(act)


async def _post(gateway: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    return (await gateway.post(path, json=body, timeout=30)).raise_for_status()


async def _fetch_picture(gateway: httpx.AsyncClient, act: Act, folder: Path) -> None:
    for image in act.job.get("images", [])[:1]:
        answer = await gateway.get(image["url"], follow_redirects=True, timeout=30)
        if answer.status_code != 200:
            act.faults.append(f"its picture answered {answer.status_code}")
            return
        with Image.open(io.BytesIO(answer.content)) as picture:
            found = f"{picture.width}*{picture.height} {(picture.format or '').lower()}"
        wanted = f"{act.job['size']} {act.job['output_format']}"
        if found != wanted:
            act.faults.append(f"its picture is {found}, not {wanted}")
        act.picture = (
            folder / f"{act.number:02}-{act.scene.title.replace(' ', '-').replace(',', '')}.{act.job['output_format']}"
        )
        act.picture.write_bytes(answer.content)


def _compare(act: Act) -> None:
    scene, job = act.scene, act.job
    if not act.is_over:
        act.faults.append(f"still {act.state} after {WATCH_SECONDS:g} s")
        return
    expected = {"state": scene.state, "credits.consumed": scene.credits, "credits.reserved": 0, **scene.checks}
    for path, wanted in expected.items():
        found: Any = job
        for part in path.split("."):
            found = (found or {}).get(part)
        if found != wanted:
            act.faults.append(f"{path} is {found}, not {wanted}")
    if job["completed_via"] not in scene.via:
        act.faults.append(f"settled via {job['completed_via']}, not {' or '.join(scene.via)}")
    if scene.state == "succeeded" and act.picture is None:
        act.faults.append("it has no picture")


async def _books(gateway: httpx.AsyncClient, stage: Stage, acts: Sequence[Act]) -> Books:
    jobs = [(await gateway.get(f"/jobs/{act.job['id']}")).raise_for_status().json() for act in acts]
    async with httpx.AsyncClient(trust_env=False) as client:
        account = (await client.get(f"{stage.emulator_url}/control/account")).raise_for_status().json()
    return Books(
        gateway=sum(job["credits"]["consumed"] for job in jobs),
        unresolved=sum(job["credits"]["unresolved"] for job in jobs),
        emulator=sum(task["consumed_credits"] for task in account["tasks"]),
        tasks=len(account["tasks"]),
    )
