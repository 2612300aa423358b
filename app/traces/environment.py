"""Whether tracing is on, and where spans go: OpenTelemetry's own variables, read from the environment.

Tracing is on where the extra `traces` is installed and OTEL_EXPORTER_OTLP_ENDPOINT is set or its like for traces alone.
OpenTelemetry's library passes over a value that it does not understand; here each such value is an error.
Source: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from app.errors import SettingsError
from app.traces.spans import Traces

log = structlog.get_logger(__name__)

_OTLP, _OTLP_TRACES = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"
_WITH_ARGUMENT = ("traceidratio", "parentbased_traceidratio")


def open_traces() -> Traces:
    """The traces of this process, as the environment wants them.

    Raises:
        SettingsError: a variable is bad; the message names it and never its value.
    """
    if not any(_given(f"{prefix}ENDPOINT") for prefix in (_OTLP, _OTLP_TRACES)):
        return Traces()
    for name, wrong, rule in _checks():
        if wrong(_given(name)):
            raise SettingsError(f"{name}: {rule}")
    if _given("OTEL_SDK_DISABLED").lower() == "true" or _given("OTEL_TRACES_EXPORTER").lower() == "none":
        return Traces()
    return _exported()


def _exported() -> Traces:
    try:
        from app.traces.export import exported_traces  # noqa: PLC0415 - the extra may not be there
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but nothing is traced: the extra `traces` is not installed")
        return Traces()
    try:
        return exported_traces()
    except (ValueError, RuntimeError, OSError) as error:
        raise SettingsError(f"OTEL_…: {error}") from error


def _given(name: str) -> str:
    return os.environ.get(name, "").strip()


def _checks() -> Iterator[tuple[str, Callable[[str], bool], str]]:
    """Variables, what is wrong with a value, and what to write instead."""
    for prefix in (_OTLP, _OTLP_TRACES):
        yield f"{prefix}ENDPOINT", _is_no_address, "write an address like http://collector:4318"
        yield f"{prefix}PROTOCOL", _is_none_of("http/protobuf"), "only http/protobuf is spoken"
        yield f"{prefix}COMPRESSION", _is_none_of("none", "gzip", "deflate"), "write none, gzip or deflate"
        yield f"{prefix}HEADERS", _are_no_headers, "write name=value,name=value, each value percent-encoded"
        yield f"{prefix}TIMEOUT", _is_no_number(above=0), "write a number of seconds"
        for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
            yield prefix + name, _is_no_file, "there is no such file"
    yield "OTEL_SDK_DISABLED", _is_none_of("true", "false"), "write true or false"
    yield "OTEL_TRACES_EXPORTER", _is_none_of("otlp", "none"), "write otlp or none"
    samplers = ("always_on", "always_off", "traceidratio")
    known = (*samplers, *(f"parentbased_{name}" for name in samplers))
    yield "OTEL_TRACES_SAMPLER", _is_none_of(*known), f"write one of {', '.join(known)}"
    if _given("OTEL_TRACES_SAMPLER").lower() in _WITH_ARGUMENT:
        yield "OTEL_TRACES_SAMPLER_ARG", _is_no_number(above=-1e-9, up_to=1), "write a number from 0 to 1"
    for name in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"):
        yield f"OTEL_BSP_{name}", _is_no_count, "write a whole number above 0"


def _is_no_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(value) and (parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0)
    except ValueError:
        return True


def _are_no_headers(value: str) -> bool:
    return any(not re.fullmatch(r"\s*[!-+\--<>-~]+\s*=[^\s\"\\\\;]*\s*", part) for part in value.split(",") if part.strip())


def _is_none_of(*words: str) -> Callable[[str], bool]:
    return lambda value: bool(value) and value.lower() not in words


def _is_no_number(*, above: float, up_to: float = 3600) -> Callable[[str], bool]:
    def is_none(value: str) -> bool:
        try:
            return bool(value) and not above < float(value) <= up_to
        except ValueError:
            return True

    return is_none


def _is_no_count(value: str) -> bool:
    return bool(value) and not (value.isascii() and value.isdecimal() and int(value) > 0)


def _is_no_file(value: str) -> bool:
    return bool(value) and not Path(value).is_file()
