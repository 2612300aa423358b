"""How examples stand below a command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """An epilog with one command a line."""
    return "\n\n".join(("Examples:", *lines))
