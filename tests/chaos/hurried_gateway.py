"""`gateway serve` and `gateway worker` in a hurry: what takes minutes takes seconds. Run as a module, by the tests.

CLOCK_FILE names the file that says by how much the wall clock of this process is off.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.chaos.shifted_clock import shift_clock


def main() -> None:
    shift_clock(Path(os.environ["CLOCK_FILE"]))
    from app.errors import SettingsError, StorageUnavailableError
    from app.exits import OUT_OF_REACH, USAGE  # only now, so that all that is imported sees that clock
    from tests.chaos.hurry import serve, work

    try:
        work() if sys.argv[1:] == ["worker"] else serve(int(sys.argv[2]))
    except SettingsError as error:
        _refuse(error, USAGE)
    except StorageUnavailableError as error:
        _refuse(error, OUT_OF_REACH)


def _refuse(error: Exception, code: int) -> None:
    """As the command line does."""
    print(f"gateway: {error}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
