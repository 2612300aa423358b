"""What an emulator is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.emulator.fault_plan import FaultRule


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """Everything an emulator needs to know; the defaults make a pleasant demonstration.

    Raises ``ValueError`` (``UnknownFault``, ``BadFaultValue``) for a fault which cannot be understood, and for times or
    credits which make no sense.
    """

    #: API key → credits at the start.
    keys: Mapping[str, int] = field(default_factory=lambda: {"sk-emulator": 100_000})
    #: Seconds a task is reported PENDING before it is reported IN_PROGRESS.
    pending_seconds: float = 0.5
    #: Shortest and longest running time of a task, in seconds from its acceptance; drawn uniformly.
    run_seconds: tuple[float, float] = (1.0, 3.0)
    #: Seconds between the end of a task and its callback.
    callback_delay: float = 0.0
    #: How often a callback is sent again when it failed or was answered with anything but 2xx.
    callback_retries: int = 0
    #: Where pictures are fetched from, e.g. ``https://cdn.example.com``; ``None``: the address the submit came to.
    public_url: str | None = None
    #: Seed of everything random, task ids included; ``None``: different in every run, so that task ids never repeat.
    seed: int | None = None
    #: Faults in the command line's notation, ``NAME[=VALUE][@RATE]``; see ``FaultRule.parse``.
    faults: tuple[str, ...] = ()
    #: Whether the status answer's ``request`` repeats the ``callback_url``.
    echo_callback_url: bool = True

    def __post_init__(self) -> None:
        self.fault_rules()
        shortest, longest = self.run_seconds
        if not 0 <= shortest <= longest:
            raise ValueError(f"run seconds must be 0 <= shortest <= longest, not {shortest:g}-{longest:g}")
        if min(self.pending_seconds, self.callback_delay, self.callback_retries, *self.keys.values(), 0) < 0:
            raise ValueError("times, retries and credits cannot be negative")

    def fault_rules(self) -> list[FaultRule]:
        """Fresh rules, one for each of ``faults``."""
        return [FaultRule.parse(spec) for spec in self.faults]
