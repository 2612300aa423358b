"""Do the upstream's callbacks arrive?"""

from __future__ import annotations

from app.doctor.finding import Finding, ok, warning
from app.lifecycle.callback_health import CallbackHealth, mostly_lost
from app.lifecycle.policy import Policy

CHECK = "callbacks"


def judge_callbacks(health: CallbackHealth, policy: Policy) -> Finding:
    if not policy.callbacks_expected:
        return ok(CHECK, "none are asked for")
    if health.loss_ratio is None:
        return ok(CHECK, "no task has ended in the last hour")
    found = f"{round(health.judged * (1 - health.loss_ratio))} of the last {health.judged} arrived"
    if mostly_lost(health.loss_ratio, health.judged):
        return warning(CHECK, found, "see the public address, its certificate and the proxy's rules for /callbacks/")
    return ok(CHECK, found)
