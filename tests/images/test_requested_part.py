"""Which bytes a request is answered with: RFC 9110's rules as a table."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from app.images.requested_part import RequestedPart, requested_part

ETAG = '"abc"'
SIZE = 100
ALL = RequestedPart(200, 0, SIZE)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ALL),
        ({"range": "bytes=0-0"}, RequestedPart(206, 0, 1)),
        ({"range": "bytes=0-99"}, RequestedPart(206, 0, 100)),
        ({"range": "bytes=10-"}, RequestedPart(206, 10, 100)),
        ({"range": "bytes=-10"}, RequestedPart(206, 90, 100)),
        ({"range": "bytes=-1000"}, RequestedPart(206, 0, 100)),
        ({"range": "bytes=90-1000"}, RequestedPart(206, 90, 100)),
        ({"range": "Bytes = 1 - 2"}, RequestedPart(206, 1, 3)),
        ({"range": "bytes=100-"}, RequestedPart(416)),
        ({"range": "bytes=100-200"}, RequestedPart(416)),
        ({"range": "bytes=-0"}, RequestedPart(416)),
        ({"range": "bytes=5-4"}, ALL),
        ({"range": "bytes=-"}, ALL),
        ({"range": "bytes=0-1,5-6"}, ALL),
        ({"range": "items=0-1"}, ALL),
        ({"range": "bytes=a-b"}, ALL),
        ({"range": "bytes=" + "9" * 5000 + "-"}, ALL),
        ({"range": "bytes=0-1", "if-range": ETAG}, RequestedPart(206, 0, 2)),
        ({"range": "bytes=0-1", "if-range": '"other"'}, ALL),
        ({"range": "bytes=0-1", "if-range": "W/" + ETAG}, ALL),
        ({"range": "bytes=0-1", "if-range": "Fri, 02 Jan 2026 03:04:05 GMT"}, ALL),
        ({"range": "bytes=200-", "if-range": '"other"'}, ALL),
        ({"if-none-match": ETAG}, RequestedPart(304)),
        ({"if-none-match": f'"x", W/{ETAG}'}, RequestedPart(304)),
        ({"if-none-match": "*"}, RequestedPart(304)),
        ({"if-none-match": '"other"'}, ALL),
        ({"if-none-match": ETAG, "range": "bytes=200-"}, RequestedPart(304)),
    ],
)
def test_a_get_is_answered_with_what_it_asks_for(headers: dict[str, str], expected: RequestedPart) -> None:
    assert requested_part("GET", Headers(headers), etag=ETAG, size=SIZE) == expected


def test_a_range_means_nothing_to_a_head() -> None:
    assert requested_part("HEAD", Headers({"range": "bytes=0-1"}), etag=ETAG, size=SIZE) == ALL


def test_an_etag_is_found_in_the_second_header_of_two() -> None:
    headers = Headers(raw=[(b"if-none-match", b'"x"'), (b"if-none-match", ETAG.encode())])
    assert requested_part("GET", headers, etag=ETAG, size=SIZE) == RequestedPart(304)
