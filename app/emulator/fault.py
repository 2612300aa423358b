"""The catalogue of faults: every way in which the emulator can misbehave on request.

A fault strikes a *submit* (and is then remembered by the task it made) or a single *status* request. Three things call
for a fault: a rule given at the start or over ``/control/faults`` (see ``fault_plan``), and a marker in a prompt,
``[[name]]`` or ``[[name=value]]``, which binds the fault to that one task.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: A fault's value: seconds, the kind of a strange body, or nothing.
FaultValue = float | str | None

#: The faults which struck one request, by name.
Faults = Mapping[str, FaultValue]

#: The bodies of ``callback-strange-body``.
STRANGE_BODIES = ("not-json", "list", "empty", "gzip", "binary")

CYCLE = "cycle"


class UnknownFault(ValueError):
    """No fault has this name."""


class BadFaultValue(ValueError):
    """The fault exists, but its value or rate cannot be understood."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way of misbehaving."""

    name: str
    meaning: str
    takes: Literal["nothing", "seconds", "body"] = "nothing"
    default: FaultValue = None
    #: The request which a rule without a value strikes.
    strikes: Literal["submit", "status"] = "submit"
    #: True when the value is a time since acceptance, so that a rule *with* a value strikes the submit instead.
    lasts: bool = False

    def read_value(self, text: str | None) -> FaultValue:
        """The value written as ``text``, or the default for ``None``; raises ``BadFaultValue``."""
        if text is None:
            return self.default
        if self.takes == "seconds":
            return self._read_seconds(text)
        if self.takes == "body" and text in (*STRANGE_BODIES, CYCLE):
            return text
        if self.takes == "body":
            raise BadFaultValue(f"'{self.name}' takes one of {', '.join((*STRANGE_BODIES, CYCLE))}, not '{text}'")
        raise BadFaultValue(f"'{self.name}' takes no value, but was given '{text}'")

    def _read_seconds(self, text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            raise BadFaultValue(f"'{self.name}' takes a number of seconds, not '{text}'")
        return seconds


def _seconds(name: str, default: float, meaning: str) -> Fault:
    return Fault(name, meaning, "seconds", default)


def _window(name: str, meaning: str) -> Fault:
    return Fault(name, meaning, "seconds", 2.0, strikes="status", lasts=True)


_CATALOGUE = (
    Fault("callback-lost", "no callback is sent"),
    _seconds("callback-late", 5.0, "the callback is sent SECONDS late"),
    Fault("callback-double", "the callback is sent twice at once"),
    Fault("callback-before-answer", "the callback is sent, and answered, before the submit is answered (5 s at most)"),
    Fault("callback-forged", "also a callback naming a made-up task and one naming another task, halfway of the run"),
    Fault("callback-strange-body", "the callback's body is not the envelope: BODY picks", "body", CYCLE),
    Fault("answer-lost", "accepted and charged; the answer breaks off"),
    _seconds("answer-hang", 3600.0, "accepted and charged; the answer is held back for SECONDS"),
    Fault("drop-before-accept", "not accepted; the answer breaks off"),
    Fault("submit-500", "not accepted; HTTP 500"),
    Fault("submit-500-accepted", "accepted and charged; HTTP 500"),
    Fault("submit-502-html", "not accepted; HTTP 502 with an HTML page"),
    Fault("submit-502-accepted", "accepted and charged; HTTP 502 with an HTML page"),
    Fault("submit-503", "not accepted; HTTP 503"),
    _seconds("submit-429", 1.0, "not accepted; HTTP 429 with Retry-After: SECONDS"),
    Fault("submit-402", "not accepted; HTTP 402"),
    Fault("submit-403", "not accepted; HTTP 403"),
    Fault("submit-401", "not accepted; HTTP 401"),
    Fault("code-mismatch", "not accepted; HTTP 200 around an envelope of code 500"),
    Fault("task-id-in-error", "accepted and charged; HTTP 500 whose envelope holds the task_id"),
    _window("status-404", "status answers 404 until SECONDS after acceptance"),
    _window("status-500", "status answers 500 until SECONDS after acceptance"),
    _window("status-429", "status answers 429 until SECONDS after acceptance"),
    _window("status-html", "status answers an HTML page (HTTP 200) until SECONDS after acceptance"),
    Fault("status-hang", "status answers are held back for SECONDS", "seconds", 3600.0, strikes="status"),
    _seconds("status-lag", 5.0, "status says IN_PROGRESS until SECONDS after the end; the callback tells the truth"),
    Fault("numbers-as-strings", 'numbers of this task\'s answers are strings: code "200", consumed_credits "5"'),
    Fault("response-as-string", "response is a string which holds the JSON list"),
    _seconds("response-null", 2.0, "SUCCESS with a null response until SECONDS after the end"),
    Fault("never-ends", "the task stays IN_PROGRESS for ever"),
    Fault("content-failure", "the task ends FAILED and is refunded"),
    Fault("failure-billed", "the task ends FAILED and 5 credits stay consumed"),
    Fault("image-gone", "the picture's address answers 404"),
    _seconds("forgotten", 0.0, "status answers 404 for ever from SECONDS after acceptance on"),
    _seconds("run", 1.0, "not a fault: the task runs for SECONDS"),
)

#: Every fault by name, in the order in which they are told about.
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _CATALOGUE}

_MARKER = re.compile(r"\[\[\s*([a-z0-9-]+)\s*(?:=\s*([^\[\]]*?)\s*)?\]\]")


def fault_named(name: str) -> Fault:
    """The fault of this name; raises ``UnknownFault``."""
    fault = FAULTS.get(name)
    if fault is None:
        raise UnknownFault(f"unknown fault '{name}'; known are: {', '.join(FAULTS)}")
    return fault


def read_markers(prompt: str) -> dict[str, FaultValue]:
    """The faults a prompt asks for; markers which cannot be understood are prose, and so ignored."""
    if "[[" not in prompt:
        return {}
    found: dict[str, FaultValue] = {}
    for name, text in _MARKER.findall(prompt):
        fault = FAULTS.get(name)
        if fault is None:
            continue
        try:
            found[name] = fault.read_value(text or None)
        except BadFaultValue:
            continue
    return found


def without_markers(prompt: str) -> str:
    """The prompt as a caption: markers removed, white space collapsed."""
    return " ".join(_MARKER.sub(" ", prompt).split())


def seconds_of(faults: Faults, name: str) -> float:
    """The seconds a fault carries; 0 when it did not strike."""
    value = faults.get(name)
    return value if isinstance(value, float) else 0.0
