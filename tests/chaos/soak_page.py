"""The page that a soak is told on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from tests.chaos.soak_facts import Facts
from tests.chaos.soak_level import (
    KEPT_FOR_GOOD,
    LEAST_MINUTES,
    MEASURES,
    Measure,
    Trend,
    Verdict,
    allowed,
    is_long_enough,
    measures_of_table,
)
from tests.chaos.soak_load import OLD_AFTER, RULES, TROUBLE_EVERY, TROUBLE_LASTS

_HEAD = """| measure | first | last | may rise by | an hour | at most | |
|---|---:|---:|---:|---:|---:|---|"""
_LISTED = 20  #: of what is wrong


def page(facts: Facts, samples: Sequence[Mapping[str, float]], trends: Sequence[tuple[Measure, Trend | None]]) -> str:
    """Markdown, with the charts of `soak.svg` beside it."""
    last = samples[-1]
    rate = "a rate that is not known" if facts.rate is None else f"{facts.rate:g} jobs a second"
    return f"""# A soak

Written by `make soak MINUTES=60`; edit `tests/chaos/soak_page.py` instead. It keeps a deployment at work and looks whether
anything grows. {_outcome(facts, last["minutes"], trends)}

| | |
|---|---|
| gateway | version {facts.version}, commit {facts.commit} |
| machine | {facts.machine} |
| length | {last["minutes"]:.0f} minutes, {len(samples)} samples |
| rate | {rate}, sent when they are due, whether or not the one before was answered |
| accepted | {_count(last, "accepted")} jobs; {_count(last, "turned_away")} requests got a 503 and were sent again |
| deployment | one `gateway serve --no-worker`, one `gateway worker`, PostgreSQL with `fsync`, pictures in a folder |
| cores used, on average | {_cores(samples)}; the machine is all that ran on it, PostgreSQL too |

Two of three jobs name a receiver. A few orders are sent twice, canceled, or waited for.

![Charts of every measure over the run](soak.svg)

## What went wrong on purpose

Every {TROUBLE_EVERY:.0f} seconds a receiver fails, hangs or is gone for {TROUBLE_LASTS:.0f} of them, and one connection of
the gateway to PostgreSQL is ended. The upstream misbehaves all the time: a rule names the fault, its value where it has one,
and the share of the requests that it strikes.

| what | how often |
|---|---:|
{_purpose(facts, last)}

## What was measured

The first third of the run is not judged: what starts up, and a history that no retention has shortened yet, grows and flattens.
The rest is condensed to forty points, of an hour's run one a minute: the median of the minute, or for ages and tables its
highest. *First* and *last* are the highest points of the first and the last quarter of it; of descriptors the lowest, for pools
open and close them, and what has leaked stays open; for tables, and for what waits for
long by design, of its halves, since the pruner comes every ten minutes; of dead tuples, the medians of the halves, for right
after the pruner they stand as high as autovacuum is late. *An hour* is the median slope of all pairs of points,
with its bounds of 95 percent. Level is what rises no more than it may from first to last, and whose upper bound is at most its
limit, over all that is judged or over the later half of it: what climbs and then stops has not leaked.

{_tables(trends, last)}

## The books

{_books(facts.wrong)}

## What this does not show

Retention is in whole days. So jobs that ended {OLD_AFTER} ago are made two days older, once a minute, by an `UPDATE` that the
gateway itself never makes: each leaves a dead tuple of `jobs` more. The pruner then takes them as it takes any, every ten
minutes. So once twenty minutes are over, the database holds five to fifteen minutes of history, not a day's. That its size is
level shows that the pruner keeps up and leaves nothing behind, not how large a day is. No process is started anew, since that
would hide what grows. Pictures are tiny, and the load is one tenant's.
"""


def _outcome(facts: Facts, minutes: float, trends: Sequence[tuple[Measure, Trend | None]]) -> str:
    if not is_long_enough(minutes):
        return f"**This run was too short to tell: {minutes:.0f} minutes, and {LEAST_MINUTES:.0f} are needed.**"
    growing = [measure.name for measure, trend in trends if trend is not None and trend.verdict is Verdict.GROWS]
    unknown = sum(trend is None or trend.verdict is Verdict.UNKNOWN for _, trend in trends)
    said = f"**These grew: {', '.join(growing)}.**" if growing else "Nothing grew."
    said += f" **Of {unknown} measures it cannot be told.**" if unknown else ""
    return said + (" The books agree." if facts.wrong == [] else " **The books do not agree, or nobody looked.**")


def _purpose(facts: Facts, last: Mapping[str, float]) -> str:
    ours = {
        "a connection of the gateway to PostgreSQL was ended": "backends ended",
        "a receiver answered 500": "receiver failing",
        "a receiver took the request and said nothing": "receiver hanging",
        "nobody listened at a receiver's port": "receiver gone",
    }
    rows = [(what, _count(last, column)) for what, column in ours.items()]
    rows += [(f"upstream: `{rule}`", _struck(facts, rule)) for rule in RULES]
    return "\n".join(f"| {what} | {count} |" for what, count in rows)


def _struck(facts: Facts, rule: str) -> str:
    name = rule.partition("@")[0].partition("=")[0]
    return f"{facts.struck.get(name, 0):,}" if facts.struck else "not known"


def _tables(trends: Sequence[tuple[Measure, Trend | None]], last: Mapping[str, float]) -> str:
    """One for all that is not about a table of the database, and one for these."""
    of_tables = [(measure, trend) for measure, trend in trends if measure not in MEASURES]
    small = {measure.name for measure, trend in of_tables if trend is not None and _is_small(measure, trend)}
    small = {name for name in small if all(other.name in small for other in measures_of_table(name.rpartition(" ")[2]))}
    listed = [(measure, trend) for measure, trend in of_tables if measure.name not in small]
    told = "\n".join(["### Processes, ages, latency", "", _HEAD, *_rows(trends[: len(MEASURES)])])
    if not of_tables:
        return told
    names = sorted({name.rpartition(" ")[2] for name in small})
    quiet = f"Judged too, level, and small: {', '.join(f'`{name}`' for name in names)}. " if names else ""
    rows = _count(last, f"rows of {KEPT_FOR_GOOD}")
    kept = f"Not judged: `{KEPT_FOR_GOOD}`, from which nothing deletes; {rows} rows in the end."
    return "\n".join([told, "", "### Tables", "", _HEAD, *_rows(listed), "", quiet + kept])


def _is_small(measure: Measure, trend: Trend) -> bool:
    """Below what it may grow by, in all it ever was."""
    return trend.verdict is Verdict.LEVEL and trend.highest <= measure.more


def _rows(trends: Sequence[tuple[Measure, Trend | None]]) -> Iterator[str]:
    for measure, trend in trends:
        if trend is None:
            yield f"| {measure.name} | | | | | | {Verdict.UNKNOWN.value} |"
            continue
        slope = f"{_number(trend.slope.an_hour)} ({_number(trend.slope.low)} to {_number(trend.slope.high)})"
        limit = "" if measure.an_hour is None else _number(measure.an_hour)
        highs = f"{_number(trend.first)} | {_number(trend.last)} | {_number(allowed(measure, trend.first))}"
        yield f"| {measure.name} | {highs} | {slope} | {limit} | {trend.verdict.value} |"


def _books(wrong: Sequence[str] | None) -> str:
    if wrong is None:
        return "**Nobody looked: the run was cut, or this page was written from its samples alone.**"
    if not wrong:
        return "They agree: jobs, credits and deliveries are those that the callers, the upstream and the receivers counted."
    more = f"\n- and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    return "\n".join(["**They do not, or something went wrong:**", "", *(f"- {line}" for line in wrong[:_LISTED])]) + more


def _cores(samples: Sequence[Mapping[str, float]]) -> str:
    names = [name for name in samples[0] if name.endswith(" cores")]
    return ", ".join(f"{name.removesuffix(' cores')} {fmean(sample[name] for sample in samples):.2f}" for name in names)


def _count(last: Mapping[str, float], column: str) -> str:
    return f"{last[column]:,.0f}" if column in last else "not known"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
