"""`gateway demo`: the main job, end to end, against the built-in emulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def demo(
    jobs: Annotated[int, typer.Option(help="How many jobs to run.", min=1, max=500)] = 12,
    serve: Annotated[bool, typer.Option("--serve", help="Keep everything running afterwards, for looking around.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end instead of tables.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the pictures, the database and the logs go.")] = Path("data/demo"),
) -> None:
    """Run a dozen jobs through a gateway and the emulator, on loopback: lost callbacks, lost answers and all.

    Exits 0 when every job ended as it should and the books equal the emulator's account; 1 when not.
    """
    import asyncio

    raise typer.Exit(asyncio.run(_demo(jobs, serve, as_json, folder.absolute())))


async def _demo(jobs: int, serve: bool, as_json: bool, folder: Path) -> int:
    import time

    from rich.console import Console

    from app.demo import show
    from app.demo.plan import scenes
    from app.demo.run import play
    from app.demo.stage import StageError, open_stage

    talk = Console(stderr=True)
    began = time.monotonic()
    try:
        async with open_stage(folder) as stage:
            talk.print(f"Emulator {stage.emulator_url}   Gateway {stage.gateway_url}", highlight=False)
            with show.watching(talk) as tell:
                played, books = await play(stage, scenes(jobs), tell)
            took = time.monotonic() - began
            if as_json:
                typer.echo(show.as_json(played, books, took))
            else:
                show.summary(Console(), played, books, folder, took)
            if serve:
                await _stay(talk, stage.gateway_url, stage.api_key)
    except StageError as error:
        typer.echo(f"gateway demo: {error}", err=True)
        return 1
    if any(stage.exit_codes.values()):
        typer.echo(f"gateway demo: a process did not end cleanly: {stage.exit_codes}", err=True)
        return 1
    return 0 if books.agree and not any(one.faults for one in played) else 1


async def _stay(talk: Console, url: str, api_key: str) -> None:
    import asyncio
    import signal

    talk.print(
        "\nStill running; stop with Ctrl-C. Look around:\n\n"
        f"  {url}/console   sign in with {api_key}\n  {url}/docs\n"
        f'  curl -H "Authorization: Bearer {api_key}" {url}/jobs\n',
        highlight=False,
        soft_wrap=True,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
