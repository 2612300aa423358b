"""An outage: every request of a kind is answered alike, until it is over."""

from collections.abc import Mapping

from app.emulator.answer import Answer
from app.emulator.submit_answer import BAD_GATEWAY_PAGE, SERVER_ERROR
from app.emulator.traffic import Request

#: The outages by the control endpoint's words. ``refuse`` breaks the connection before the first byte of a body.
OUTAGES: Mapping[str, Answer] = {
    "500": SERVER_ERROR,
    "502": BAD_GATEWAY_PAGE,
    "refuse": Answer(503, {}, b"", lost="truncated"),
}


class Outages:
    """The outage in force for each kind of request, if any."""

    def __init__(self) -> None:
        self._in_force: dict[Request, str | None] = {"submit": None, "status": None}

    def set(self, request: Request, outage: str | None) -> None:
        """Begin one of ``OUTAGES``, or end it with ``None``."""
        self._in_force[request] = outage

    def answer_to(self, request: Request) -> Answer | None:
        """The outage's answer, or ``None`` while all is well."""
        outage = self._in_force[request]
        return None if outage is None else OUTAGES[outage]

    def describe(self) -> dict[str, str | None]:
        """The outages in force, in the control endpoint's words."""
        return {"submit": self._in_force["submit"], "status": self._in_force["status"]}
