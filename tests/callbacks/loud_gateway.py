"""`gateway serve` that logs as much as it can. Run as a module, by the tests; LEVEL is the level of the root logger."""

from __future__ import annotations

import os
import sys

from app import log
from app.cli.server import run_server
from app.config import load
from app.main import create_app


def main() -> None:
    settings = load()
    log.configure("json", level=int(os.environ["LEVEL"]))
    run_server(create_app(settings), host="127.0.0.1", port=int(os.environ["PORT"]), ready=_say)


def _say(url: str) -> None:
    print(f"ready at {url}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
