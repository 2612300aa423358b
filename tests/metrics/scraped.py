"""Reads what `/metrics` answers, as Prometheus does."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """One scrape."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.families = list(text_string_to_metric_families(page))

    @property
    def names(self) -> set[str]:
        """As they are told by name: counters with `_total`."""
        return {family.name + ("_total" if family.type == "counter" else "") for family in self.families}

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the samples with these labels; None where there is none."""
        found = list(self._values(name, labels))
        return sum(found) if found else None

    def labels(self, name: str) -> set[frozenset[str]]:
        """The sets of label names that samples of this name have."""
        return {frozenset(s.labels) for family in self.families for s in family.samples if s.name == name}

    def _values(self, name: str, labels: dict[str, str]) -> Iterator[float]:
        for family in self.families:
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    yield sample.value


async def scrape(someone: httpx.AsyncClient) -> Scraped:
    answer = await someone.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text)
