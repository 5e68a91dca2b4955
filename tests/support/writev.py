"""Writing by HTTP."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from support.audits import logged

if TYPE_CHECKING:
    from support.audits import Line
    from support.wire import Served


def b64(data: bytes) -> str:
    """Write bytes as JSON has them."""
    return base64.b64encode(data).decode()


def writev(service: Served, target: str, address: int, data: bytes, **members: object) -> Any:  # noqa: ANN401 - JSON
    """Write to one place."""
    body = {"addresses": [hex(address)], "data": [b64(data)], **members}
    return service.request("POST", f"/v1/targets/{target}/writev", body)


def audit_of_writes(service: Served, target: str, count: int) -> list[Line]:
    """Return the lines of writes to a target, once there are so many."""
    lines = logged(service, lambda line: line["target"]["id"] == target, count)
    assert len(lines) == count
    return lines
