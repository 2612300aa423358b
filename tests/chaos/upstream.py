"""The emulator as a process of its own, with all its faults: by rules for any request, and by markers for single jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx

from app.emulator.fault import FAULTS
from tests.crash.processes import running

#: Strike any request, so that one job meets several. They end with the storm, that all may come to rest.
RULES = (
    "callback-lost@0.05", "callback-double@0.05", "submit-500@0.04", "submit-503@0.04", "submit-502-html@0.02",
    "drop-before-accept@0.02", "answer-lost@0.02", "code-mismatch@0.02", "status-404@0.03", "status-500@0.05",
    "status-429@0.03", "status-html@0.03", "status-hang=3@0.02",
    "answer-hang=0.8@0.4",  # and so there is always something being sent, for whoever is killed or frozen
)  # fmt: skip
#: Values that fit the hurried gateway; the others have their own.
_VALUES = {
    "callback-late": "3", "answer-hang": "4", "submit-429": "0", "status-404": "3", "status-500": "3", "status-429": "3",
    "status-html": "3", "status-lag": "2", "response-null": "2", "forgotten": "1", "run": "3",
}  # fmt: skip
#: A marker would hold back every check of a job, which then ends at the hard deadline; the rule strikes single ones.
_BY_RULE_ALONE = {"status-hang"}
MARKED = tuple(name for name in FAULTS if name not in _BY_RULE_ALONE)
#: Answered 500, accepted and charged all the same: the one lie that makes a second submission.
LIE = "submit-500-accepted"
#: Nobody can read the credits of these.
UNREADABLE = {"forgotten", "never-ends"}
CREDITS = 1_000_000


def markers(number: int, order: list[str], dice: Random) -> str:
    """What the prompt of job `number` asks for: every second one names the next fault in turn, some of them two."""
    if number % 2:
        return ""
    names = [order[number // 2 % len(order)], *([dice.choice(order)] if dice.random() < 0.2 else [])]
    return " ".join(f"[[{name}={_VALUES[name]}]]" if name in _VALUES else f"[[{name}]]" for name in dict.fromkeys(names))


@dataclass(frozen=True)
class Upstream:
    url: str
    pid: int

    def account(self) -> dict[str, Any]:
        return self._ask("GET", "/control/account")

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.account()["tasks"]
        return found

    def under_way(self) -> list[tuple[int, str]]:
        """The submits that it is answering: the port of who waits, and the callback token."""
        submits = self._ask("GET", "/control/under-way")["submits"]
        return [(one["client_port"], str(one["callback_url"]).rpartition("/")[2]) for one in submits]

    def be_away(self, how: str | None) -> None:
        """`500`, `502` or `refuse`, for all requests; None ends it."""
        self._ask("POST", "/control/outage", {"submit": how, "status": how})

    def picture_sha256(self, url: str) -> str | None:
        """Of what it shows there; None where it shows nothing."""
        answer = httpx.get(url, trust_env=False, timeout=60)
        return hashlib.sha256(answer.content).hexdigest() if answer.is_success else None

    def drop_rules(self) -> None:
        self._ask("DELETE", "/control/faults")

    def _ask(self, method: str, path: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = httpx.request(method, self.url + path, json=order, trust_env=False, timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def running_upstream(
    directory: Path, seed: int, rules: tuple[str, ...] = RULES, pictures_at: str | None = None
) -> Iterator[Upstream]:
    """The emulator while the block runs.

    Args:
        pictures_at: where pictures are fetched from, if not from the emulator itself.
    """
    faults = [word for rule in rules for word in ("--fault", rule)]
    arguments = [
        "-m", "app", "emulator", "--port", "0", "--json", "--run-seconds", "0.2-1", "--callback-retries", "600",
        "--seed", str(seed), "--key", f"sk-emulator={CREDITS}", *faults,
        *(["--public-url", pictures_at] if pictures_at else []),
    ]  # fmt: skip
    with running(arguments, {}, directory) as process:
        yield Upstream(json.loads(process.said(process.stdout, "url"))["url"], process.pid)
