"""A supervisor's watchdog is fed by the event loop, in time, and only if it is ours."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from farpeek_api.serving.watchdog import interval_s
from support.wire import Served

if TYPE_CHECKING:
    from pathlib import Path


def test_signs_of_life_come_at_half_of_the_time_that_is_waited() -> None:
    assert interval_s({"WATCHDOG_USEC": "30000000"}) == 15.0
    assert interval_s({"WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid())}) == 0.5e-6


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "1e6"},
        {"WATCHDOG_USEC": "\u0663"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_PID": str(os.getpid())},
    ],
)
def test_no_watchdog_is_fed_that_is_not_there_or_not_ours(environment: dict[str, str]) -> None:
    assert interval_s(environment) is None


def test_the_loop_feeds_it_and_a_stopped_one_does_not(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.settimeout(60)
        supervisor.bind(str(folder / "notify"))
        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "100000"}
        with Served(folder, environment=environment) as service:
            assert supervisor.recv(100) == b"READY=1"
            for _ in range(3):
                assert supervisor.recv(100) == b"WATCHDOG=1"
            service.process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, service.process.pid, os.WSTOPPED)
            drain(supervisor)
            supervisor.settimeout(0.5)  # ten times the pause
            with pytest.raises(TimeoutError):
                supervisor.recv(100)
            supervisor.settimeout(60)
            service.process.send_signal(signal.SIGCONT)
            assert supervisor.recv(100) == b"WATCHDOG=1"


def drain(sock: socket.socket) -> None:
    """Take what has come already."""
    sock.settimeout(0)
    try:
        while sock.recv(100):
            pass
    except BlockingIOError:
        return
