"""What all tests with containers need: podman as tests/container/prepare leaves it."""

from __future__ import annotations

import pytest

from support import podman


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> None:
    if not (podman.HOME / "containers.conf").exists():
        pytest.fail("run it by `make test-container`, which makes the images")
