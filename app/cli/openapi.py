"""`gateway openapi`: the API's description, without a gateway that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.whole_file import whole_file

Output = Annotated[Path | None, typer.Option(help="Write it to this file instead of standard output.")]


def openapi(output: Output = None) -> None:
    """Print the OpenAPI document that the gateway serves at /openapi.json."""
    from app.config import Settings
    from app.main import create_app

    document = create_app(Settings(_env_file=None)).openapi()
    with whole_file(output) as file:
        file.write((json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
