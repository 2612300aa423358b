"""Spans of what the gateway does, for OpenTelemetry: the only package that knows it, and only where tracing is on."""
