"""Small line charts in one SVG, each with a title, its highest value and its own scale; on their own ground, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, GAP, COLUMNS = 400, 90, 46, 2  #: of one chart, and around it
_POINTS = 200  #: of a line; more cannot be seen
_COLOURS = 4
#: The reader's own preference decides. The ground goes with it, so that the page around does not matter.
_STYLE = """<style>
.ground{fill:#fff}.title{fill:#1f2328;font-weight:bold}.scale{fill:#57606a}.frame{stroke:#d0d7de;fill:none}
.line{stroke-width:1.2;fill:none}.line.c0{stroke:#1f6feb}.line.c1{stroke:#bc4c00}.line.c2{stroke:#1a7f37}.line.c3{stroke:#8250df}
.name.c0{fill:#1f6feb}.name.c1{fill:#bc4c00}.name.c2{fill:#1a7f37}.name.c3{fill:#8250df}
@media (prefers-color-scheme: dark){
.ground{fill:#0d1117}.title{fill:#e6edf3}.scale{fill:#9198a1}.frame{stroke:#3d444d}
.line.c0{stroke:#4493f8}.line.c1{stroke:#f0883e}.line.c2{stroke:#3fb950}.line.c3{stroke:#ab7df8}
.name.c0{fill:#4493f8}.name.c1{fill:#f0883e}.name.c2{fill:#3fb950}.name.c3{fill:#ab7df8}}
</style>"""


@dataclass(frozen=True)
class Chart:
    """Lines over the same instants, which they share with all other charts; NaN where nothing is known."""

    title: str
    lines: dict[str, Sequence[float]]  #: by name


def svg(charts: Sequence[Chart], *, x_label: str) -> str:
    """The whole document."""
    rows = math.ceil(len(charts) / COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        _STYLE,
        f'<rect class="ground" width="{width}" height="{height}"/>',
    ]
    for number, chart in enumerate(charts):
        x, y = GAP + number % COLUMNS * (WIDTH + GAP), GAP + number // COLUMNS * (HEIGHT + GAP)
        parts += [f'<g transform="translate({x} {y})">', *_drawn(chart), "</g>"]
    parts.append(f'<text class="scale" x="{GAP}" y="{height - 14}">{escape(x_label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _drawn(chart: Chart) -> list[str]:
    top = _round_up(max((value for line in chart.lines.values() for value in line if not math.isnan(value)), default=0.0))
    parts = [
        f'<text class="title" x="0" y="-18">{escape(chart.title)}</text>',
        f'<text class="scale" x="-6" y="8" text-anchor="end">{top:g}</text>',
        f'<text class="scale" x="-6" y="{HEIGHT}" text-anchor="end">0</text>',
        f'<path class="frame" d="M0 0H{WIDTH}M0 {HEIGHT}H{WIDTH}"/>',
    ]
    for number, (name, values) in enumerate(chart.lines.items()):
        colour = f"c{number % _COLOURS}"
        parts.append(f'<polyline class="line {colour}" points="{" ".join(_points(values, top))}"/>')
        parts.append(f'<text class="name {colour}" x="{number * WIDTH // _COLOURS}" y="-5">{escape(name)}</text>')
    return parts


def _points(values: Sequence[float], top: float) -> Iterator[str]:
    """Of several values that share a point, the highest: what stands out is what matters."""
    size = math.ceil(len(values) / _POINTS) or 1
    step = WIDTH / max(1, math.ceil(len(values) / size) - 1)
    for number, at in enumerate(range(0, len(values), size)):
        known = [value for value in values[at : at + size] if not math.isnan(value)]
        if known:
            yield f"{number * step:.1f},{HEIGHT - HEIGHT * max(known) / top:.1f}"


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * 0.9999)
