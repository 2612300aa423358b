"""Can pictures be kept?"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

from app.doctor.finding import Finding, ok, warning, wrong
from app.errors import SettingsError
from app.exits import USAGE
from app.images.store import ImageStoreUnavailableError, open_image_store

CHECK = "pictures"
TIMEOUT = timedelta(seconds=10)
_FOLDERS = ("file:///", "file://./", "file://../")


async def look_at_pictures(url: str, user: int) -> Finding:
    """Writes, reads and deletes a small object in the store that GATEWAY_IMAGE_STORE_URL names.

    Args:
        user: whose process this is, by number. What root makes in a folder of somebody else, that one could not write to.
    """
    if url.startswith(_FOLDERS) and (finding := _not_ours(Path(unquote(url.removeprefix("file://"))), user)) is not None:
        return finding
    try:
        store = open_image_store(url, timeout=TIMEOUT)
        if store is None:
            return ok(CHECK, "not kept: GATEWAY_IMAGE_STORE_URL is off")
        await store.check()
    except SettingsError as error:
        return wrong(CHECK, str(error), "correct it, or give the gateway's user the right to write there", USAGE)
    except ImageStoreUnavailableError as error:
        todo = "bring the store back, or correct its address and credentials; pictures wait, and jobs settle all the same"
        return wrong(CHECK, f"{url}: {error}", todo)
    return ok(CHECK, f"written, read and deleted at {url}")


def _not_ours(folder: Path, user: int) -> Finding | None:
    """What is said where nothing may be written; None where it may."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    if there != folder.absolute() and there.is_dir():
        return warning(CHECK, f"there is no folder {folder} yet", "nothing, before the first `gateway serve`, which makes it")
    if user == 0 and folder.is_dir() and (owner := folder.stat().st_uid) != 0:
        return warning(CHECK, f"{folder} belongs to user {owner}, and root wrote nothing there", "run the doctor as that user")
    return None
