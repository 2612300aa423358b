"""How groups of commands are read and run, whatever the commands."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from app.exits import PIPE_CLOSED


class Commands(TyperGroup):
    """A group; what Typer leaves open is closed here."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Typer's own options are flags without a default, and to see that None is none it would load pydantic."""
        for option in self.get_params(ctx):
            if getattr(option, "is_flag", False) and option.default is None:
                option.default = False
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """A reader that has seen enough, as `head`, is no error of ours."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
            raise typer.Exit(PIPE_CLOSED) from None
