"""`gateway serve`: the API, and the duties unless another process has them."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Also send, check and settle jobs in this process.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output when ready.")] = False,
) -> None:
    """Serve the API. Settings come from the environment or .env.

    With --json, the first admin key, where one is made, is in that object instead of among the talk.
    """
    from app import config, log
    from app.cli.server import run_server
    from app.main import create_app
    from app.opening import alone_on

    settings = config.load()
    log.configure(settings.log_format)
    with alone_on(settings.database_url):  # said before the port is found taken by the same process
        pass
    app = create_app(settings, with_duties=worker)
    run_server(app, host=host, port=port, ready=lambda url: _say_ready(url, app.state.first_key, as_json))


def _say_ready(url: str, first_key: str | None, as_json: bool) -> None:
    print(f"gateway: listening on {url} (console at {url}/console, docs at {url}/docs)", file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps({"url": url, "first_key": first_key}), flush=True)
    elif first_key is not None:
        print(
            f"gateway: made the first admin key; it is shown only once:\n\n    {first_key}\n",
            file=sys.stderr,
            flush=True,
        )
