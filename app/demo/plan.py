"""What the demo runs, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Scene:
    """One job of the demo, with the end that it must have."""

    title: str
    request: dict[str, Any]
    state: str = "succeeded"
    via: tuple[str, ...] = ("callback",)
    credits: int = 5
    cancel: bool = False
    checks: dict[str, Any] = field(default_factory=dict)  #: fields of the job that must have these values


SCENES: tuple[Scene, ...] = (
    Scene("a plain job", {"prompt": "A serene mountain landscape at sunset"}),
    Scene("png, tall", {"prompt": "A lighthouse in a storm", "size": "1024*1536", "output_format": "png"}),
    Scene("webp, wide", {"prompt": "A train crossing a desert", "size": "1536*1024", "output_format": "webp"}),
    Scene("small, tall", {"prompt": "A red fox in the snow", "size": "768*1024", "seed": 7}),
    Scene("small, wide, in Chinese", {"prompt": "雨后的江南小镇,水墨画", "size": "1024*768", "output_format": "png"}),
    Scene("its callback is lost", {"prompt": "A bottle in the sea [[callback-lost]]"}, via=("poll",)),
    Scene("its submit answer is lost, its callback heals it", {"prompt": "A letter that arrived [[answer-lost]]"}),
    Scene(
        "its content is refused",
        {"prompt": "Something the upstream will not draw [[content-failure]]"},
        state="failed",
        credits=0,
        checks={"error.code": "generation_failed"},
    ),
    Scene("its callback comes twice", {"prompt": "An echo in the mountains [[callback-double]]"}),
    Scene(
        "canceled while it runs",
        {"prompt": "A street that is never finished [[run=3]]"},
        state="canceled",
        cancel=True,
    ),
    Scene("its callback comes before the answer", {"prompt": "A cat, early [[callback-before-answer]]"}),
    Scene("its callback names a forged task as well", {"prompt": "A mask [[callback-forged]]"}),
)


def scenes(count: int) -> list[Scene]:
    """The first `count` scenes; beyond them, plain jobs."""
    more = [Scene("one more", {"prompt": f"Postcard number {n}", "seed": n}) for n in range(len(SCENES), count)]
    return [*SCENES[:count], *more]
