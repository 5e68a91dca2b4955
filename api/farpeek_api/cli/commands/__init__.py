"""The client commands, a module each.

A module has ``arguments(parser)``, which adds what the command takes, and ``run(session)``, which
does it and gives the exit status. It is imported when its command is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Final[Mapping[str, str]] = {
    "ps": "list the processes that the service can see",
    "register": "make a process a target: it is held by its pidfd from then on",
    "release": "drop your claim on a target",
    "targets": "list the targets",
    "info": "show what the service is, can do here, and how it is doing",
    "read": "show the bytes at an address",
    "telescope": "follow pointers from an address on",
    "what": "say what is at an address: mapping, file, symbol",
    "maps": "list the mappings of a target",
    "search": "find a text, bytes, a number or pointers in a target's memory",
    "dump": "save a target's memory to a sparse file",
    "watch": "show the bytes at an address as they change",
    "events": "tell what happens to targets, as it happens",
    "wait": "wait until a target ends, and say how it did",
    "write": "write bytes to a target's memory",
    "ui": "open a page that shows processes and their memory in a browser",
    "gdb": "run gdb on a target that is not stopped, and goes on",
    "lldb": "run lldb on a target that is not stopped, and goes on",
    "rsp": "let debuggers connect to a target that is not stopped, and goes on",
}
"""Name and help text. ``farpeek X-Y`` is in the module ``x_y``."""
