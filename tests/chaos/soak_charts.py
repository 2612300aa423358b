"""What of a soak's samples is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tests.chaos.line_charts import Chart

_LARGEST = 4  #: tables that are drawn


def charts(samples: Sequence[Mapping[str, float]]) -> list[Chart]:
    """A column that the samples do not have is drawn as nothing."""

    def chart(title: str, **names: str) -> Chart:
        return Chart(title, {short: [sample.get(name, math.nan) for sample in samples] for short, name in names.items()})

    return [
        chart("resident memory, MiB", api="api resident mib", worker="worker resident mib"),
        chart("processor, cores", api="api cores", worker="worker cores", machine="machine cores"),
        chart("descriptors", api="api descriptors", worker="worker descriptors"),
        chart("threads, and connections to PostgreSQL", api="api threads", worker="worker threads", connections="connections"),
        chart("from due to accepted, ms", p50="accept p50 ms", p99="accept p99 ms"),
        chart("orders due and not sent", orders="orders waiting"),
        chart("oldest, seconds", queued="oldest queued s", unconfirmed="oldest unconfirmed s", running="oldest running s"),
        chart("late, seconds", checks="checks late s", deliveries="deliveries late s", pictures="pictures waiting s"),
        chart("waiting", submissions="open submissions", deliveries="deliveries pending"),
        chart("jobs accepted", accepted="accepted"),
        chart("database, MiB", all="database mib"),
        chart("tables, MiB", **_largest(samples, "mib of ")),
        chart("rows", **_largest(samples, "rows of ")),
        chart("dead tuples", **_largest(samples, "dead tuples of ")),
    ]


def _largest(samples: Sequence[Mapping[str, float]], what: str) -> dict[str, str]:
    """Of the tables, the names of the columns that come highest."""
    names = [name for name in samples[-1] if name.startswith(what)]
    found = sorted(names, key=lambda name: -max(sample[name] for sample in samples))[:_LARGEST]
    return {name.removeprefix(what): name for name in found}
