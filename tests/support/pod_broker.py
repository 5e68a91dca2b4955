"""A broker in the network of a pod, where none of its containers has more than its loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.ending import end_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek_api.bus import permits
    from support.podman import Container

BROKER = "nats://127.0.0.1:4222"
"""What its address is in there."""


def user(key: str, may: permits.Permits) -> str:
    """Write one whom it lets in."""
    return f"{{nkey: {key}, permissions: {json.dumps(may._asdict())}}}"


@contextmanager
def broker(beside: Container, folder: Path, users: list[str]) -> Iterator[None]:
    """Run one where a container sees it."""
    config = folder / "nats.conf"
    text = "\n".join(users)
    config.write_text(f'listen: "127.0.0.1:4222"\nauthorization: {{users: [\n{text}\n]}}\n')
    program = Path(sys.executable).with_name("nats-server")
    inside = ["nsenter", "--net", "--target", str(beside.pid), "--"]
    process = subprocess.Popen([*inside, program, "-c", config], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        end_process(process)
