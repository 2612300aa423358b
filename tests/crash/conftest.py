from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.processes import Emulator, Gateway, running_emulator


@pytest.fixture(scope="package")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.fixture
def new_gateway(emulator: Emulator, tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Makes a gateway, not yet started; keyword arguments are settings."""
    with ExitStack() as stack:

        def make(**settings: str) -> Gateway:
            gateway = Gateway(tmp_path, emulator, **settings)
            stack.callback(gateway.close)
            return gateway

        yield make
