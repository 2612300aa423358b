"""Without the extra the gateway runs the same, and FastAPI's own telemetry stays silent; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

RUN_A_JOB = """
import asyncio, sys
from tests.acceptance.stage import open_stage

async def main():
    async with open_stage("sqlite:///" + sys.argv[1]) as stage:
        job = await stage.run("A red fox")
        await stage.api.post("/callbacks/token-secret")
        print(job["state"])

asyncio.run(main())
"""

WITHOUT = """
import sys

class Missing:
    # FastAPI itself needs opentelemetry-api; what the extra brings is not there.
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""

WITH_A_GLOBAL_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
"""


def test_a_job_runs_without_the_extra(tmp_path: Path) -> None:
    done = run(WITHOUT + RUN_A_JOB, tmp_path)
    assert done.stdout.splitlines()[-1] == "succeeded"
    assert "nothing is traced" not in done.stdout + done.stderr


def test_an_endpoint_without_the_extra_is_warned_of_and_the_job_runs(tmp_path: Path) -> None:
    done = run(WITHOUT + RUN_A_JOB, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert done.stdout.splitlines()[-1] == "succeeded"
    assert "nothing is traced: the extra `traces` is not installed" in done.stdout + done.stderr


def test_spans_of_the_frameworks_own_would_hold_the_token_and_are_never_made(tmp_path: Path) -> None:
    program = WITH_A_GLOBAL_PROVIDER + RUN_A_JOB + "print([span.to_json() for span in exporter.get_finished_spans()])"
    done = run(program, tmp_path, FASTAPI_OTEL_AUTO_CONFIGURE="true")
    assert done.stdout.splitlines()[-2:] == ["succeeded", "[]"]


def run(program: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GATEWAY_", "OTEL_"))}
    words = [sys.executable, "-c", program, str(directory / "gateway.db")]
    environment = {**clean, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(words, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done
