"""sd_notify(3): tells a supervisor when the service is ready and when it stops."""

from __future__ import annotations

import os
import socket

from farpeek_api.serving.logs import log


def notify(state: str) -> None:
    """Send ``state`` (``READY=1``) to ``NOTIFY_SOCKET``, if a supervisor has set that."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    if place.startswith("@"):  # a name in the abstract namespace; unix(7)
        place = "\0" + place[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0)
            sock.connect(place)
            sock.send(state.encode())
    except OSError as error:
        log.warning("cannot tell the supervisor %s: %s", state, error.strerror)
