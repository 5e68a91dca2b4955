"""`farpeek fleet`: what is asked of many nodes, and what the broker of a fleet needs.

A module has ``arguments(parser)`` and ``run(chosen)``, which gives the exit status, and is imported
when its word is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "ls": ("list the nodes, and what each of them is", "fleet.ls"),
    "ps": ("list the processes of many nodes", "fleet.ps"),
    "read": ("show the bytes at an address of all processes that fit", "fleet.read"),
    "run": ("ask many nodes for an operation of their services", "fleet.run"),
    "user": ("make a key for a node or a client, and its entry for the broker", "fleet.user"),
    "setup": ("have the broker keep heartbeats, events and samplers", "fleet_setup"),
}
"""Help, and the module below `farpeek_api.cli`."""
