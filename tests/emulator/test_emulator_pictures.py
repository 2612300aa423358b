"""Pictures: real ones, of the size asked, and always the same."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from app.emulator.painting import Motif, paint


@pytest.mark.parametrize(
    ("size", "output_format"),
    [
        ("1024*1024", "jpeg"),
        ("1024*1536", "webp"),
        ("1536*1024", "png"),
        ("768*1024", "jpeg"),
        ("1024*768", "webp"),
    ],
)
def test_a_picture_has_the_size_and_the_format_asked(size: str, output_format: str) -> None:
    picture = Image.open(BytesIO(paint(Motif("a fox", size, 1, output_format))))
    picture.load()
    assert picture.format == output_format.upper()
    assert "*".join(str(side) for side in picture.size) == size


def test_the_same_motif_gives_the_same_bytes() -> None:
    motif = Motif("a fox", "1024*768", 1, "jpeg")
    first = paint(motif)
    paint.cache_clear()
    assert paint(motif) == first


def test_another_seed_or_prompt_gives_another_picture() -> None:
    pictures = {paint(Motif(prompt, "1024*768", seed, "jpeg")) for prompt, seed in (("a", 1), ("a", 2), ("b", 1))}
    assert len(pictures) == 3


@pytest.mark.parametrize("prompt", ["一只红色的狐狸", "🦊", "\ud800", "x" * 2000])
def test_any_prompt_can_be_painted(prompt: str) -> None:
    assert paint(Motif(prompt, "1024*768", 1, "jpeg"))


def test_a_picture_is_there_once_its_task_has_succeeded(play: Any) -> None:
    task_id = play.accepted("a fox", seed=7, output_format="png")
    assert play.world.picture(f"{task_id}.png") is None
    play.pass_seconds(10)
    assert play.world.picture(f"{task_id}.png") == Motif("a fox", "1024*1024", 7, "png")
    assert play.world.picture(f"{task_id}.jpeg") is None
    assert play.world.picture("other.png") is None


def test_a_failed_task_has_no_picture_and_a_gone_one_is_gone(play: Any) -> None:
    names = [f"{play.accepted(prompt)}.jpeg" for prompt in ("[[content-failure]]", "[[image-gone]]")]
    play.pass_seconds(10)
    assert [play.world.picture(name) for name in names] == [None, None]


def test_seed_minus_one_draws_a_seed_and_keeps_it(play: Any) -> None:
    for _ in range(2):
        play.accepted(seed=-1)
    one, other = (task["seed"] for task in play.tasks())
    assert min(one, other) >= 0
    assert one != other
    assert play.data(play.tasks()[0]["task_id"])["request"]["seed"] == -1


def test_the_public_url_is_where_pictures_are(make_play: Callable[..., Any]) -> None:
    play = make_play(public_url="https://cdn.example.com")
    task_id = play.accepted()
    play.pass_seconds(10)
    assert play.data(task_id)["response"] == [f"https://cdn.example.com/images/{task_id}.jpeg"]
