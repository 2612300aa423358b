"""Data goes to standard output and talk to standard error, also of commands that serve."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.crash.processes import SECRET_KEY, UPSTREAM_KEY, running

SETTINGS = {"GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY, "GATEWAY_IMAGE_STORE_URL": "off", "GATEWAY_SECRET_KEY": SECRET_KEY}


def test_serve_says_as_json_where_it_is_and_the_first_key(tmp_path: Path) -> None:
    settings = {**SETTINGS, "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/gateway.db"}
    with running(["-m", "app", "serve", "--port", "0", "--json"], settings, tmp_path) as process:
        told = json.loads(process.said(process.stdout, "url"))
        headers = {"Authorization": f"Bearer {told['first_key']}"}
        assert httpx.get(f"{told['url']}/keys", headers=headers, trust_env=False).status_code == 200
        process.terminate()
        assert process.ended() == 0
    assert len(process.stdout) == 1
    assert "gateway: listening on " in "".join(process.stderr)
    assert told["first_key"] not in "".join(process.stderr), "it is shown only once"
    with running(["-m", "app", "serve", "--port", "0", "--json"], settings, tmp_path) as process:
        assert json.loads(process.said(process.stdout, "url"))["first_key"] is None


@pytest.mark.parametrize("monitored", [True, False])
def test_a_worker_says_as_json_that_it_works(postgres_url: str, tmp_path: Path, monitored: bool) -> None:
    settings = {**SETTINGS, "GATEWAY_DATABASE_URL": postgres_url}
    port = ["--metrics-port", "0"] if monitored else []
    with running(["-m", "app", "worker", "--json", *port], settings, tmp_path) as process:
        url = json.loads(process.said(process.stdout, "metrics_url"))["metrics_url"]
        if monitored:
            assert httpx.get(url.replace("/metrics", "/healthz"), trust_env=False).status_code == 200
        else:
            assert url is None
        process.terminate()
        assert process.ended() == 0
    assert "gateway: working\n" in process.stderr


def test_the_demo_tells_how_it_goes_beside_what_became_of_it(tmp_path: Path) -> None:
    with running(["-m", "app", "demo", "--jobs", "1", "--folder", str(tmp_path / "demo")], {}, tmp_path) as process:
        assert process.ended() == 0
    assert any(line.startswith("Emulator http://") for line in process.stderr)
    assert not any(line.startswith("Emulator ") for line in process.stdout)
    assert any(line.startswith("Books: ") for line in process.stdout)
    assert not any(line.startswith("Books: ") for line in process.stderr)
