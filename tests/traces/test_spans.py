"""Single spans: whose trace they go on with, what they take from errors, and what the log gets."""

from __future__ import annotations

import pytest
import structlog
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import StatusCode

from app.traces.spans import Traces
from tests.traces.recording import Recording, facts, linked, place

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
GARBAGE = [
    "", "00", "garbage", "0" * 600, GOOD.upper(), GOOD[:-1], GOOD + "-more", "ff" + GOOD[2:], "00-" + "0" * 32 + GOOD[35:],
    GOOD[:36] + "0" * 16 + "-01", GOOD.replace("4", "g"), f"{GOOD},{GOOD}", "00-4bf9\u00ff",
]  # fmt: skip


@pytest.mark.parametrize("header", [GOOD, f" {GOOD} ", "01" + GOOD[2:] + "-what-may-come"])
async def test_a_request_goes_on_with_its_callers_trace(header: str) -> None:
    recording = Recording()
    with recording.traces().request([header]) as span:
        assert span.traceparent is not None
        assert span.traceparent[3:35] == GOOD[3:35]
    [ended] = recording.spans
    assert ended.parent is not None
    assert ended.parent.span_id == int(GOOD[36:52], 16)


@pytest.mark.parametrize("headers", [[], [GOOD, GOOD], *([value] for value in GARBAGE)])
async def test_what_is_no_traceparent_is_passed_over(headers: list[str]) -> None:
    recording = Recording()
    with recording.traces().request(headers) as span:
        assert span.traceparent is not None
        assert int(span.traceparent[-2:], 16) & 1  # sampled
        assert GOOD[3:35] not in span.traceparent
    assert recording.spans[0].parent is None


@pytest.mark.parametrize("stored", [None, *GARBAGE])
async def test_a_job_without_a_sane_traceparent_is_worked_on_without_a_link(stored: str | None) -> None:
    recording = Recording()
    with recording.traces().work("submit", caused_by=stored, job_id="7", submission=None) as span:
        span.link(stored)
    [ended] = recording.spans
    assert (linked(ended), facts(ended)) == ([], {"job_id": "7"})


async def test_an_error_leaves_its_name_and_nothing_of_its_text() -> None:
    recording = Recording()
    traces = recording.traces()
    with pytest.raises(ValueError, match="secret"), traces.work("submit", caused_by=GOOD):
        raise ValueError("https://gateway/callbacks/secret")
    [span] = recording.spans
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert span.attributes == {"gateway.outcome": "ValueError", "error.type": "ValueError"}


@pytest.mark.parametrize(
    ("method", "route", "status", "name", "code"),
    [
        ("GET", "/jobs/{job_id}", 200, "GET /jobs/{job_id}", StatusCode.UNSET),
        ("GET", "/jobs/{job_id}", 404, "GET /jobs/{job_id}", StatusCode.UNSET),
        ("GET", None, 404, "GET", StatusCode.UNSET),
        ("POST", "/jobs", 503, "POST /jobs", StatusCode.ERROR),
        ("STEAL", None, 405, "HTTP", StatusCode.UNSET),
    ],
)
async def test_a_request_is_named_by_its_route(
    method: str, route: str | None, status: int, name: str, code: StatusCode
) -> None:
    recording = Recording()
    with recording.traces().request() as span:
        span.answered(method, route, status)
    [ended] = recording.spans
    assert (ended.name, ended.status.status_code) == (name, code)
    assert facts(ended)["http.response.status_code"] == status
    assert "STEAL" not in ended.to_json()


async def test_the_log_gets_the_trace_while_the_span_is_open() -> None:
    recording = Recording()
    with recording.traces().work("check", caused_by=None):
        bound = structlog.contextvars.get_contextvars()["trace_id"]
    assert bound == f"{place(recording.spans[0])[0]:032x}"
    assert "trace_id" not in structlog.contextvars.get_contextvars()


async def test_a_request_that_was_sampled_carries_its_work_along() -> None:
    """The ratio alone would let one in a million of the job's spans through."""
    for sampler in (TraceIdRatioBased(0), ParentBased(ALWAYS_OFF)):
        recording = Recording()
        traces = recording.traces(sampler)
        for flag in ("01", "00"):
            with traces.work(flag, caused_by=GOOD[:-2] + flag):
                pass
        assert [span.name for span in recording.spans] == ["01"]


async def test_always_and_never_mean_what_they_say() -> None:
    for sampler, count in ((ALWAYS_ON, 2), (ALWAYS_OFF, 0)):
        recording = Recording()
        traces = recording.traces(sampler)
        for flag in ("01", "00"):
            with traces.work(flag, caused_by=GOOD[:-2] + flag):
                pass
        assert len(recording.spans) == count


async def test_where_tracing_is_off_nothing_is_kept() -> None:
    traces = Traces()
    with traces.request([GOOD]) as request, traces.work("submit", caused_by=GOOD, job_id="7") as work:
        assert request.traceparent is work.traceparent is traces.current().traceparent is None
        assert "trace_id" not in structlog.contextvars.get_contextvars()
    await traces.aclose()
