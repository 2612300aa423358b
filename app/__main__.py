"""`python -m app` is `gateway`."""

from app.cli import run

run()
