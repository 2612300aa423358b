"""A disk that is full: a small file system of its own where that may be mounted, else a process that may write no file."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.chaos.replica import Replica

_SIZE = 512 * 1024 * 1024  #: bytes; in memory, as far as they are used
_BALLAST = "ballast"


class Volume(Protocol):
    """Where the database lies."""

    def fill(self) -> None:
        """From now on, nothing more can be written."""
        ...

    def empty(self) -> None: ...


@dataclass(frozen=True)
class Mounted:
    """A file system in memory. Writing to it fails with ENOSPC."""

    folder: Path

    def fill(self) -> None:
        with (self.folder / _BALLAST).open("wb", buffering=0) as file:
            for piece in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"\0" * piece):
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        (self.folder / _BALLAST).unlink()


@dataclass
class Limited:
    """A limit of the process: no file may be written, whatever its size. Writing fails with EFBIG."""

    replica: Replica

    def fill(self) -> None:
        resource.prlimit(self.replica.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def empty(self) -> None:
        resource.prlimit(self.replica.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a small file system at `folder`; yields whether that was possible. It goes with the block."""
    folder.mkdir()
    if os.geteuid() != 0:
        yield False
        return
    options = ["-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], stderr=subprocess.DEVNULL, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
