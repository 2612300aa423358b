"""Is the gate open, and if not, why?"""

from __future__ import annotations

from datetime import datetime

from app.doctor.ages import spoken
from app.doctor.finding import Finding, ok, warning, wrong
from app.lifecycle.gate import Gate, Shut
from app.stats.gate_advice import advice, is_grave

CHECK = "gate"
RESUME = "gateway dispatch resume"


def judge_gate(gate: Gate, now: datetime) -> Finding:
    """Shut checks are told behind a pause too, and count for more: without checks no job ends."""
    reason = gate.why_submits_are_shut
    if reason is None:
        return ok(CHECK, "open")
    lasted = now - (gate.submits_shut_at or now)
    found = f"shut: {reason}, for {spoken(lasted)}"
    found += f", by {gate.paused_by}" if reason is Shut.PAUSED else ""
    found += f" ({gate.shut_detail})" if reason is gate.shut and gate.shut_detail else ""
    if gate.checks_shut not in (None, reason):
        found += f"; checks: {gate.checks_shut}, for {spoken(now - (gate.checks_shut_at or now))}"
        return wrong(CHECK, found, advice(gate.checks_shut, RESUME))
    return (wrong if is_grave(reason, lasted) else warning)(CHECK, found, advice(reason, RESUME))
