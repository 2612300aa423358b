"""`gateway doctor`: what is wrong, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.display import print_json, print_table
from app.cli.examples import examples

if TYPE_CHECKING:
    from app.doctor.finding import Finding


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Examine settings, database, gate, books, pictures, upstream and public address, and say what to do.

    Run it where the gateway runs, with its settings, also while it runs. It changes nothing, but for a small object that it
    writes to the picture store and deletes; it asks the upstream once, at no cost. Exit codes: 0 nothing is wrong, 2 a setting
    is, 5 the database or the upstream is out of reach, 1 anything else is.

    Elsewhere than on a terminal: check, verdict, what was found and what to do, separated by tabs.
    """
    import asyncio

    from app.doctor.finding import exit_code_of, verdict_of

    findings = asyncio.run(_examined())
    if as_json:
        checks = [{"check": f.check, "verdict": f.verdict, "found": f.found, "todo": f.todo} for f in findings]
        print_json({"verdict": verdict_of(findings), "checks": checks})
    else:
        print_table(("CHECK", "VERDICT", "FOUND", "WHAT TO DO"), [(f.check, f.verdict, f.found, f.todo) for f in findings])
    raise typer.Exit(exit_code_of(findings))


EPILOG = examples("gateway doctor", "gateway doctor --json | jq '.checks[] | select(.verdict != \"ok\")'")


async def _examined() -> list[Finding]:
    from app import config, log
    from app.doctor.examine import examine
    from app.doctor.settings import bad_settings
    from app.errors import SettingsError

    try:
        settings = config.load()
    except SettingsError as error:
        return [bad_settings(error)]
    log.configure(settings.log_format)  # else it would stand among the data
    return await examine(settings, config.unknown_names())
