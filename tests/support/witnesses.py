"""What shows which program a process executes, as a test knows it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farpeek.kernel import uapi
from farpeek.mappings import auxv

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class KnownProgram:
    """See ``Witness``."""

    pagemap: int | None
    random: tuple[int, bytes] | None


@contextmanager
def program_of(pid: int) -> Iterator[KnownProgram]:
    """Tell the program that process ``pid`` executes now."""
    address = auxv.read(f"/proc/{pid}")[1][auxv.AT_RANDOM]
    content = uapi.read_memory(pid, address, 16)
    assert content is not None
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield KnownProgram(pagemap, (address, content))
    finally:
        os.close(pagemap)
