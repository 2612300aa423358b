"""The colours of a job's states on a terminal, as rich names them."""

from __future__ import annotations

from collections.abc import Mapping

STATE_COLOURS: Mapping[str, str] = {
    "queued": "dim", "submitting": "cyan", "unconfirmed": "magenta", "running": "blue",
    "succeeded": "green", "failed": "red", "canceled": "yellow",
}  # fmt: skip
