"""The page that a soak is told on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.chaos.soak_level import FILLING, STARTING, Measure, Trend

_HEAD = "| measure | first quarter | last quarter | more allowed | an hour | highest | |\n|---|---:|---:|---:|---:|---:|---|"


def page(
    trends: Sequence[tuple[Measure, Trend | None]],
    wrong: Sequence[str],
    used: Mapping[str, float],
    machine: str,
    last: Mapping[str, float],
    *,
    rate: float,
    rules: Sequence[str],
) -> str:
    """Markdown, with the charts of `soak.svg` beside it.

    Args:
        used: cores by process, on average.
        last: the last sample.
    """
    cores = ", ".join(f"{name} {share:.2f}" for name, share in used.items())
    books = "They agree." if not wrong else "\n".join(["**They do not:**", "", *(f"- {line}" for line in wrong[:20])])
    return f"""# A soak

`make soak MINUTES=60` keeps a deployment at work and looks whether anything grows. This one took {last["minutes"]:.0f}
minutes at {rate:g} jobs a second: {last["accepted"]:.0f} accepted, {last["turned_away"]:.0f} requests turned away with a 503
and sent again, {last["cut_off"]:.0f} cut off. The machine: {machine}.

One `gateway serve --no-worker`, one `gateway worker`, PostgreSQL with `fsync` and autovacuum as they are by default, pictures
in a folder, two of three jobs with a receiver. The upstream misbehaves (name, value, share of the requests):
{_listed(rules)}. Each minute a
receiver fails, hangs or is gone for some seconds, and every second minute a connection of the gateway to PostgreSQL is ended.

![Charts of every measure over the run](soak.svg)

Level is what is no more in the last quarter than in the first, but for what is allowed; quarters are of the samples after the
measure has settled: {FILLING:g} minutes for what fills until retention empties it, {STARTING:g} for the rest.

{_HEAD}
{_rows(trends)}

Cores used, on average: {cores}.

## The books

{books}

## What this does not show

Retention is in whole days. So jobs that ended five minutes ago are made two days older, once a minute, by an `UPDATE` that the
gateway itself never makes: each leaves a dead tuple of `jobs` more. The pruner then takes them as it takes any, every ten
minutes. No process is started anew, since that would hide what grows. Pictures are tiny, and the load is one tenant's.
"""


def _listed(rules: Sequence[str]) -> str:
    half = len(rules) // 2
    return ",\n".join(", ".join(f"`{rule}`" for rule in some) for some in (rules[:half], rules[half:]))


def _rows(trends: Sequence[tuple[Measure, Trend | None]]) -> str:
    return "\n".join(_row(measure, trend) for measure, trend in trends)


def _row(measure: Measure, trend: Trend | None) -> str:
    if trend is None:
        return f"| {measure.name} | | | | | | too short to tell |"
    figures = (trend.first, trend.last, trend.allowed, trend.slope, trend.highest)
    return f"| {measure.name} | {' | '.join(map(_number, figures))} | {'level' if trend.is_level else '**not level**'} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
