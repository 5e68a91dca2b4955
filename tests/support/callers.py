"""Requests from a process of its own: in another pid namespace, or one that has ended since."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from support.serving import UnixConnection, ask


def register(path: str, bodies: list[object]) -> list[Any]:
    """Register by each of the bodies; own number, and status and answer of each."""
    answers: list[Any] = [os.getpid()]
    for body in bodies:
        reply = ask(UnixConnection(Path(path)), "POST", "/v1/targets", body)
        answers.append((reply.status, reply.json))
    return answers
