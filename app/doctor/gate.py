"""Is the gate open, and if not, why?"""

from __future__ import annotations

from datetime import datetime

from app.doctor.ages import spoken
from app.doctor.finding import Finding, ok, warning, wrong
from app.lifecycle.gate import Gate, Shut

CHECK = "gate"

_TODO = {
    Shut.PAUSED: "gateway dispatch resume, unless it was meant; jobs fail after GATEWAY_QUEUE_DEADLINE",
    Shut.NO_CREDITS: "top up the upstream account; the gate then opens by itself, at once by gateway dispatch resume",
    Shut.FORBIDDEN: "ask the upstream why the account may not generate",
    Shut.THROTTLED: "nothing; if it comes often, lower GATEWAY_UPSTREAM_SUBMIT_RATE",
    Shut.BREAKER: "see whether the upstream is up; a probe goes after each pause",
    Shut.BAD_KEY: "set the right GATEWAY_UPSTREAM_API_KEY, and restart",
    Shut.TASKS_MISSING: "find out whether GATEWAY_UPSTREAM_BASE_URL or the account was changed, and change it back",
}
#: What somebody meant, or what passes by itself.
_PASSING = (Shut.PAUSED, Shut.THROTTLED, Shut.BREAKER)


def judge_gate(gate: Gate, now: datetime) -> Finding:
    reason = gate.why_submits_are_shut
    if reason is None:
        return ok(CHECK, "open")
    since = {Shut.PAUSED: gate.paused_at, gate.checks_shut: gate.checks_shut_at}.get(reason, gate.shut_at)
    found = f"shut: {reason}" + (f", for {spoken(now - since)}" if since else "")
    found += f", by {gate.paused_by}" if reason is Shut.PAUSED else ""
    found += f" ({gate.shut_detail})" if reason is gate.shut and gate.shut_detail else ""
    return (warning if reason in _PASSING else wrong)(CHECK, found, _TODO[reason])
