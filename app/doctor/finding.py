"""What the doctor says of one thing: whether it is well, what was found, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.exits import FAILED, OUT_OF_REACH, USAGE


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"  #: it works, but somebody should look
    WRONG = "wrong"  #: it does not work, or will not for long
    UNKNOWN = "unknown"  #: it could not be looked at, because of something that is wrong elsewhere


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    verdict: Verdict
    found: str
    todo: str | None = None  #: what to do; None where nothing is to be done
    exit_code: int = 0  #: how the command ends because of it; 0 unless it is wrong


def ok(check: str, found: str) -> Finding:
    return Finding(check, Verdict.OK, found)


def warning(check: str, found: str, todo: str) -> Finding:
    return Finding(check, Verdict.WARNING, found, todo)


def warnings(check: str, troubles: Sequence[tuple[str, str]]) -> Finding:
    """One warning that tells all of some troubles: what was found, and what to do. There is at least one."""
    found, todo = zip(*troubles, strict=True)
    return warning(check, "; ".join(found), "; ".join(todo))


def wrong(check: str, found: str, todo: str, exit_code: int = FAILED) -> Finding:
    return Finding(check, Verdict.WRONG, found, todo, exit_code)


def unknown(check: str, why: str) -> Finding:
    return Finding(check, Verdict.UNKNOWN, f"not looked at: {why}")


def exit_code_of(findings: Iterable[Finding]) -> int:
    """0 where nothing is wrong; else by what has to be mended first: settings, then what is out of reach, then the rest."""
    codes = {finding.exit_code for finding in findings}
    return next((code for code in (USAGE, OUT_OF_REACH, FAILED) if code in codes), 0)


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst of all. What could not be looked at never stands alone."""
    verdicts = {finding.verdict for finding in findings}
    return next((v for v in (Verdict.WRONG, Verdict.WARNING) if v in verdicts), Verdict.OK)
