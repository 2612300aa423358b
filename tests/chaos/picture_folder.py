"""The picture store's folder, which may be taken away and brought back within a moment."""

from __future__ import annotations

from pathlib import Path


class PictureFolder:
    """A link to a folder; away, a file in its place. One takes the place of the other at once, so that nobody finds nothing."""

    def __init__(self, directory: Path) -> None:
        self.path, self._folder, self._next = directory / "pictures", directory / "kept", directory / "pictures-next"
        self._folder.mkdir()
        self.bring_back()

    def take_away(self) -> None:
        self._next.write_text("not a folder")
        self._next.replace(self.path)

    def bring_back(self) -> None:
        self._next.symlink_to(self._folder)
        self._next.replace(self.path)
