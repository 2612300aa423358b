"""``gateway emulator``: a stand-in for the paid API, for demonstrations, tests and chaos runs."""

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.emulator.options import EmulatorOptions

_SPAN = re.compile(r"([0-9.]+)(?:-([0-9.]+))?")
_DEFAULT_CREDITS = 100_000


def emulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 9100,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY[=CREDITS]", help="An API key and its credits; repeatable; without one: sk-emulator=100000."),
    ] = None,
    run_seconds: Annotated[str, typer.Option(metavar="MIN-MAX", help="How long tasks run, e.g. 1-3 or 0.5.")] = "1-3",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE][@RATE]",
            help="Misbehave; repeatable. RATE is a probability, every-N or next-N; without it: every time.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Repeat a run: seeds everything random, task ids too.")] = None,
    callback_delay: Annotated[float, typer.Option(min=0, help="Seconds from a task's end to its callback.")] = 0.0,
    callback_retries: Annotated[int, typer.Option(min=0, help="How often a failed callback is repeated.")] = 0,
    public_url: Annotated[
        str | None, typer.Option(help="Where pictures are fetched from; else the address a submit came to.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout when ready.")] = False,
) -> None:
    """Stand in for the Qwen-Image-2512 API: same requests, same answers, pretty pictures, no bill.

    A prompt may ask for faults by markers in double square brackets, such as callback-lost or run=10.
    GET /control/faults lists every fault; GET /control/account shows the books.
    """
    options = _options(key, run_seconds, fault, seed, callback_delay, callback_retries, public_url)

    from app.emulator.server import open_socket, serve, url_of

    try:
        listener = open_socket(host, port)
    except OSError as error:
        raise typer.BadParameter(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    url = url_of(listener)

    def announce() -> None:
        print(f"emulator ready at {url}", file=sys.stderr, flush=True)
        if json_output:
            print(json.dumps({"url": url, "keys": list(options.keys)}), flush=True)

    serve(options, listener, announce)


def _options(
    key: list[str] | None,
    run_seconds: str,
    fault: list[str] | None,
    seed: int | None,
    callback_delay: float,
    callback_retries: int,
    public_url: str | None,
) -> "EmulatorOptions":
    from app.emulator.options import EmulatorOptions

    try:
        return EmulatorOptions(
            keys=dict(_read_key(spec) for spec in key or ["sk-emulator"]),
            run_seconds=_read_span(run_seconds),
            callback_delay=callback_delay,
            callback_retries=callback_retries,
            public_url=public_url.rstrip("/") if public_url else None,
            seed=seed,
            faults=tuple(fault or ()),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _read_key(spec: str) -> tuple[str, int]:
    name, given, amount = spec.partition("=")
    if not name or (given and not (amount.isascii() and amount.isdecimal())):
        raise ValueError(f"a key is KEY or KEY=CREDITS, not '{spec}'")
    return name, int(amount) if given else _DEFAULT_CREDITS


def _read_span(text: str) -> tuple[float, float]:
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"run seconds are MIN-MAX or a number, not '{text}'")
    return float(match[1]), float(match[2] or match[1])
