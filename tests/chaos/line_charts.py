"""Small line charts in one SVG, each with a title, its highest value and its own scale; on white, so that it reads anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, GAP, COLUMNS = 400, 90, 46, 2  #: of one chart, and around it
COLOURS = ("#1f6feb", "#bc4c00", "#1a7f37", "#8250df")
_POINTS = 200  #: of a line; more cannot be seen


@dataclass(frozen=True)
class Chart:
    """Lines over the same instants, which they share with all other charts."""

    title: str
    lines: dict[str, Sequence[float]]  #: by name


def svg(charts: Sequence[Chart], *, x_label: str) -> str:
    """The whole document."""
    rows = math.ceil(len(charts) / COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, chart in enumerate(charts):
        x, y = GAP + number % COLUMNS * (WIDTH + GAP), GAP + number // COLUMNS * (HEIGHT + GAP)
        parts += [f'<g transform="translate({x} {y})">', *_drawn(chart), "</g>"]
    parts.append(f'<text x="{GAP}" y="{height - 14}" fill="#57606a">{escape(x_label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _drawn(chart: Chart) -> list[str]:
    top = _round_up(max((value for line in chart.lines.values() for value in line), default=0.0))
    parts = [
        f'<text x="0" y="-18" fill="#1f2328" font-weight="bold">{escape(chart.title)}</text>',
        f'<text x="-6" y="8" fill="#57606a" text-anchor="end">{top:g}</text>',
        f'<text x="-6" y="{HEIGHT}" fill="#57606a" text-anchor="end">0</text>',
        f'<path d="M0 0H{WIDTH}M0 {HEIGHT}H{WIDTH}" stroke="#d0d7de" fill="none"/>',
    ]
    for number, (name, values) in enumerate(chart.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{_points(values, top)}" stroke="{colour}" stroke-width="1.2" fill="none"/>')
        parts.append(f'<text x="{number * 130}" y="-5" fill="{colour}">{escape(name)}</text>')
    return parts


def _points(values: Sequence[float], top: float) -> str:
    """Of several values that share a point, the highest: what stands out is what matters."""
    size = math.ceil(len(values) / _POINTS) or 1
    kept = [max(values[at : at + size]) for at in range(0, len(values), size)]
    step = WIDTH / max(1, len(kept) - 1)
    return " ".join(f"{n * step:.1f},{HEIGHT - HEIGHT * value / top:.1f}" for n, value in enumerate(kept))


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * 0.9999)
