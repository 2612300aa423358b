"""OpenTelemetry's variables: what switches tracing on and off, and what is said about a bad one."""

from __future__ import annotations

import os
import threading

import pytest

from app.errors import SettingsError
from app.traces.environment import open_traces
from app.traces.open_telemetry import OpenTelemetryTraces
from app.traces.spans import Traces

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {ENDPOINT: ""},
        {"OTEL_TRACES_SAMPLER": "nonsense"},
        {ENDPOINT: "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "True"},
        {ENDPOINT: "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_tracing_is_off(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert type(open_traces()) is Traces


@pytest.mark.parametrize("name", [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
async def test_an_endpoint_switches_it_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token,x-scope=images")
    traces = open_traces()
    assert isinstance(traces, OpenTelemetryTraces)
    await traces.aclose()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (ENDPOINT, "collector:4318", "write an address like http://collector:4318"),
        (ENDPOINT, "grpc://secret", "write an address like http://collector:4318"),
        (ENDPOINT, "http://", "write an address like http://collector:4318"),
        (ENDPOINT, "http://secret:port", "write an address like http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "secret", "write an address like http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf is spoken"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "write name=value,name=value, each value percent-encoded"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer secret",
            "write name=value,name=value, each value percent-encoded",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "secret", "write none, gzip or deflate"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "secret", "write a number of seconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "write a number of seconds"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/secret/file", "there is no such file"),
        ("OTEL_SDK_DISABLED", "secret", "write true or false"),
        ("OTEL_TRACES_EXPORTER", "secret", "write otlp or none"),
        ("OTEL_TRACES_SAMPLER", "secret", "write one of always_on, "),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "write a whole number above 0"),
    ],
)
def test_a_bad_variable_is_named_in_one_line_without_its_value(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        open_traces()
    assert str(refused.value).startswith(f"{name}: {told}")
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", ["secret", "-0.1", "1.1", "nan"])
def test_a_ratio_is_a_number_from_0_to_1(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", value)
    with pytest.raises(SettingsError, match="OTEL_TRACES_SAMPLER_ARG: write a number from 0 to 1"):
        open_traces()


def test_variables_that_do_not_go_together_are_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    before = threading.active_count()
    with pytest.raises(SettingsError, match="max_export_batch_size must be less than or equal to max_queue_size"):
        open_traces()
    assert threading.active_count() == before
