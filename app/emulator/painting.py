"""Pictures: a small landscape drawn from the prompt, the size and the seed, the same one every time."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from random import Random

from PIL import Image, ImageDraw, ImageFont

from app.emulator.fault import without_markers

#: MIME type of each output format.
MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}

#: Pictures kept after they were drawn.
KEPT_PICTURES = 32

Colour = tuple[int, int, int]

#: Sky from top to horizon, then the farthest and the nearest hill.
_PALETTES: tuple[tuple[Colour, Colour, Colour, Colour, Colour], ...] = (
    ((24, 28, 76), (142, 68, 110), (252, 186, 120), (116, 72, 110), (26, 20, 48)),
    ((46, 110, 180), (138, 190, 226), (250, 236, 214), (110, 150, 170), (24, 62, 70)),
    ((10, 14, 40), (26, 52, 96), (96, 150, 160), (44, 82, 104), (8, 18, 34)),
    ((232, 120, 96), (246, 178, 128), (254, 236, 190), (190, 110, 104), (84, 40, 60)),
    ((84, 62, 140), (176, 120, 186), (250, 204, 212), (128, 92, 150), (44, 30, 74)),
)

_SAVE_OPTIONS: dict[str, dict[str, int]] = {
    "jpeg": {"quality": 85},
    "png": {"compress_level": 3},
    "webp": {"quality": 80, "method": 0},
}
_LAYERS = 5


@dataclass(frozen=True, slots=True)
class Motif:
    """What a picture shows; equal motifs make byte-identical pictures."""

    prompt: str
    #: Width and height in pixels, as the API writes them: ``1024*1536``.
    size: str
    seed: int
    #: ``jpeg``, ``png`` or ``webp``.
    output_format: str


@lru_cache(maxsize=KEPT_PICTURES)
def paint(motif: Motif) -> bytes:
    """Draw a motif and encode it; takes some 20 to 100 ms, so not for an event loop."""
    width, height = (int(side) for side in motif.size.split("*"))
    drawn = _landscape(width, height, _random_of(motif))
    _write_caption(drawn, without_markers(motif.prompt))
    encoded = BytesIO()
    drawn.save(encoded, motif.output_format, **_SAVE_OPTIONS[motif.output_format])
    return encoded.getvalue()


def _random_of(motif: Motif) -> Random:
    identity = f"{motif.size}\n{motif.seed}\n{motif.prompt}".encode("utf-8", "surrogatepass")
    return Random(hashlib.sha256(identity).digest())


def _landscape(width: int, height: int, rng: Random) -> Image.Image:
    top, middle, horizon, far, near = rng.choice(_PALETTES)
    sky = Image.new("RGB", (1, 3))
    for row, colour in enumerate((top, middle, horizon)):
        sky.putpixel((0, row), colour)
    picture = sky.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    _draw_stars(draw, width, height, rng)
    _draw_sun(draw, width, height, rng)
    for layer in range(_LAYERS):
        colour = _blend(far, near, layer / (_LAYERS - 1))
        draw.polygon(list(_hill(width, height, layer, rng)), fill=colour)
    return picture


def _draw_stars(draw: ImageDraw.ImageDraw, width: int, height: int, rng: Random) -> None:
    for _ in range(60):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height * 0.35), rng.uniform(0.5, 2)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(255, 250, 235))


def _draw_sun(draw: ImageDraw.ImageDraw, width: int, height: int, rng: Random) -> None:
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.25, 0.5) * height
    radius = rng.uniform(0.05, 0.11) * min(width, height)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 244, 214))


def _hill(width: int, height: int, layer: int, rng: Random) -> Iterator[tuple[float, float]]:
    base = height * (0.5 + 0.11 * layer)
    waves = [(rng.uniform(0.5, 4), rng.uniform(0, math.tau), rng.uniform(0.01, 0.045) * height) for _ in range(4)]
    for x in range(0, width + 8, 8):
        turns = x / width * math.tau
        yield x, base + sum(depth * math.sin(count * turns + phase) for count, phase, depth in waves)
    yield width, height
    yield 0, height


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _write_caption(picture: Image.Image, prompt: str) -> None:
    words = " ".join(prompt.split()[:8])[:60]
    # The default font has no glyphs beyond Latin letters; boxes would be uglier than nothing.
    if not (words.isascii() and words.isprintable()):
        return
    font = ImageFont.load_default(size=24)
    where = (32, picture.height - 56)
    ImageDraw.Draw(picture).text(where, words, font=font, fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0))
