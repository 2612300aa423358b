"""Do the upstream's callbacks arrive?"""

from __future__ import annotations

from app.doctor.finding import Finding, ok, warning
from app.lifecycle.callback_health import ENOUGH, MOSTLY_LOST, CallbackHealth
from app.lifecycle.policy import Policy

CHECK = "callbacks"


def judge_callbacks(health: CallbackHealth, policy: Policy) -> Finding:
    if not policy.callbacks_expected:
        return ok(CHECK, "none are asked for")
    if health.loss_ratio is None:
        return ok(CHECK, "no task has ended in the last hour")
    found = f"{round(health.judged * (1 - health.loss_ratio))} of the last {health.judged} arrived"
    if health.loss_ratio > MOSTLY_LOST and health.judged >= ENOUGH:
        return warning(CHECK, found, "see the public address, its certificate and the proxy's rules for /callbacks/")
    return ok(CHECK, found)
