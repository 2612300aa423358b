"""What to do about a shut gate, and how grave it is: the same for the doctor and the console. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from app.lifecycle.gate import Shut
from app.stats.alert_limits import GATE_SHUT_MAX

_ADVICE: Mapping[Shut, str] = {
    Shut.PAUSED: "{resume}, unless it was meant; jobs fail after GATEWAY_QUEUE_DEADLINE",
    Shut.NO_CREDITS: "top up the upstream account; the gate then opens by itself, and at once by: {resume}",
    Shut.FORBIDDEN: "ask the upstream why the account may not generate; once it may, the gate opens at once by: {resume}",
    Shut.THROTTLED: "nothing, it opens by itself; if it comes often, lower GATEWAY_UPSTREAM_SUBMIT_RATE",
    Shut.BREAKER: "see whether the upstream is up; a probe goes after each pause, and at once by: {resume}",
    Shut.BAD_KEY: "set the right GATEWAY_UPSTREAM_API_KEY, and restart",
    Shut.TASKS_MISSING: "find out whether GATEWAY_UPSTREAM_BASE_URL or the account was changed, and change it back",
}
_PASSING = (Shut.THROTTLED, Shut.BREAKER)


def advice(reason: Shut, resume: str) -> str:
    """
    Args:
        resume: how to open the gate from where this is read.
    """
    return _ADVICE[reason].format(resume=resume)


def is_grave(reason: Shut, lasted: timedelta) -> bool:
    """A pause was meant, and what passes by itself has some minutes for it; everything else is grave at once."""
    return reason is not Shut.PAUSED and (reason not in _PASSING or lasted > GATE_SHUT_MAX)
