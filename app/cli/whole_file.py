"""A file that is there whole or not at all; what stood there before stays until then."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer


@contextmanager
def whole_file(path: Path | None) -> Iterator[BinaryIO]:
    """To write to; standard output where there is no path.

    Raises:
        typer.BadParameter: no file can be written there.
    """
    if path is None:
        yield sys.stdout.buffer
        return
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise typer.BadParameter(f"{path} is no file", param_hint="--output")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        file = part.open("xb")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--output") from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
