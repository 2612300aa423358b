"""Which jobs a command is about: the words of the search box, and an option for each filter, which say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.client import JobFilters

#: Of the jobs commands that list.
Search = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SEARCH",
        help="As in the console: 'state:failed tenant:design q:\"red fox\" after:-7d'. Names: state, tenant, q, task, key, "
        "via, error, meta.KEY, after, before; bare words are looked for in the prompt. Quote it for the shell as a whole.",
        show_default=False,
    ),
]


def filters_of(search: Sequence[str] | None, options: Mapping[str, object]) -> JobFilters:
    """What both ask for together; all must hold.

    Args:
        options: by the names of the filters; None, and what is empty, was not given.

    Raises:
        typer.BadParameter: the search cannot be read, or names a key of the metadata twice.
    """
    from app.job_query.words import SearchWordsError, parse

    try:
        said = parse(" ".join(search or ()), now=datetime.now(UTC))
    except SearchWordsError as error:
        raise typer.BadParameter(str(error), param_hint="SEARCH") from None
    return _merged([*_pairs(options), *said])


def metadata_of(given: Sequence[str] | None) -> dict[str, str]:
    """`KEY=VALUE`, as options give it.

    Raises:
        typer.BadParameter: one is not of that form.
    """
    pairs = [pair.partition("=") for pair in given or []]
    if wrong := [key for key, equals, _ in pairs if not (key and equals)]:
        raise typer.BadParameter(f"{wrong[0]!r} is not KEY=VALUE", param_hint="--metadata")
    return {key: value for key, _, value in pairs}


def _pairs(options: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", one) for key, one in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from ((name, one) for one in value)
        elif value is not None:
            yield name, str(value)


def _merged(pairs: Iterable[tuple[str, str]]) -> JobFilters:
    """What is given twice goes to the gateway twice, which says whether it may."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    metadata = {name.removeprefix("metadata."): each for name, each in values.items() if name.startswith("metadata.")}
    if twice := [key for key, each in metadata.items() if len(each) > 1]:
        raise typer.BadParameter(f"meta.{twice[0]}: give it only once", param_hint="SEARCH")
    filters: dict[str, object] = {name: each for name, each in values.items() if not name.startswith("metadata.")}
    if "q" in values:
        filters["q"] = " ".join(values["q"])
    return {**filters, **({"metadata": {key: each[0] for key, each in metadata.items()}} if metadata else {})}  # type: ignore[typeddict-item]
