"""A form that a page of the console sent: its fields, and that it came from no other site."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request

from app.bodies import read_body
from app.problems import FieldProblem, Problem, invalid

FORM_MAX = 256 * 1024  #: bytes


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; of those of one name the last one."""
    return dict(await read_fields(request))


async def read_fields(request: Request) -> list[tuple[str, str]]:
    """The fields of a form that was sent, in order."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise Problem.of("form_expected")
    body = await read_body(request, limit=FORM_MAX)
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=2000)
    except ValueError:
        raise invalid([FieldProblem(field="", message="it cannot be read as a form")]) from None


def refuse_other_sites(request: Request) -> None:
    """Raises Problem 403 where a form was not sent from a page of ours.

    Browsers say so in `Sec-Fetch-Site` where the connection is trusted, and in `Origin` anywhere. Source: W3C Fetch Metadata.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin", "").partition("://")[2]
    if site == "same-origin" or (site is None and origin and origin == request.headers.get("host")):
        return
    raise Problem.of("other_site")
