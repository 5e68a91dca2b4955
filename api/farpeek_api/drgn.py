"""drgn on a target that goes on: ``program(target)`` is a ``drgn.Program`` of its memory.

It takes drgn, 0.0.31 or newer: ``pip install 'farpeek[drgn]'``. Nothing is stopped nor traced, so a
program has no threads; stacks are in a core (``Target.core``), which drgn opens as well.
"""

from __future__ import annotations

import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

try:
    import drgn
except ImportError as error:  # said here, for nothing else of farpeek takes it
    raise ImportError("farpeek_api.drgn takes drgn: pip install 'farpeek[drgn]'") from error

from farpeek_api.client import PeekError
from farpeek_api.gateway import registers
from farpeek_api.gateway.copies import Copies
from farpeek_api.gateway.inferior import Inferior

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.client import MappedRegion, Target
    from farpeek_api.client.calls import Mode
    from farpeek_api.gateway.copies import Copy

_END: Final = 1 << 47
_PAGE: Final = 4096
_MOST_PAGES: Final = 4096
_LARGE: Final = 16 * _PAGE
"""What is read as a whole, and not kept: a large array is hardly asked for twice."""

_PART: Final = 1 << 20
_ARCHITECTURES: Final = {
    registers.X86_64.name: drgn.Architecture.X86_64,
    registers.AARCH64.name: drgn.Architecture.AARCH64,
}


def program(target: Target, *, mode: Mode | None = None, keep_s: float = 0.05) -> drgn.Program:
    """Make a program of what a target executes now, with the symbols of its files.

    A page that was read is kept for ``keep_s`` seconds, for drgn reads a structure member by
    member. A gap is a ``drgn.FaultError`` with its address and reason; so is all memory, once the
    target executes another program. Raises PeekError, OSError, and Unsuitable for what is neither
    of x86-64 nor of aarch64.
    """
    inferior = Inferior(target, mode, writable=False)
    made = drgn.Program(drgn.Platform(_ARCHITECTURES[inferior.architecture.name]))
    made.add_memory_segment(0, _END, _Pages(inferior, keep_s).read)
    with tempfile.TemporaryDirectory(prefix="farpeek-") as folder:
        copies = Copies(inferior, Path(folder))
        programs = () if copies.program is None else (copies.program,)
        for copy in (*programs, *copies.libraries):
            _add(made, inferior.mappings, copy)
    return made


def _add(made: drgn.Program, mappings: Sequence[MappedRegion], copy: Copy) -> None:
    """Add a module. drgn keeps its file open, whatever becomes of the name."""
    start, end = _extent(mappings, copy.address)
    # An extra module has just a range: the main module's would come from auxv, which is not asked
    # for here (drgn 0.3: a wrong bias), and a shared library's needs a dynamic section.
    module = made.extra_module(copy.name, start, create=True)
    module.address_range = (start, end)
    module.try_file(copy.path, force=True)


def _extent(mappings: Sequence[MappedRegion], address: int) -> tuple[int, int]:
    """From where to where a file is mapped around an address, with the .bss behind it."""
    place = next(i for i, each in enumerate(mappings) if each.start <= address < each.end)
    first = last = place
    while first and mappings[first - 1].path == mappings[place].path:
        first -= 1
    while last + 1 < len(mappings) and mappings[last + 1].path == mappings[place].path:
        last += 1
    end = mappings[last].end
    if last + 1 < len(mappings):
        behind = mappings[last + 1]
        end = behind.end if behind.start == end and not behind.path else end
    return mappings[first].start, end


class _Pages:
    """Memory by pages, each kept for a moment."""

    def __init__(self, inferior: Inferior, keep_s: float) -> None:
        self._inferior = inferior
        self._keep_s = keep_s
        self._pages: OrderedDict[int, tuple[float, bytes]] = OrderedDict()

    def read(self, address: int, count: int, offset: int, physical: bool) -> bytes:  # noqa: FBT001 - drgn's call
        """See ``drgn.Program.add_memory_segment``."""
        del offset, physical
        if count > _LARGE:
            return b"".join(
                self._exactly(at, min(_PART, address + count - at))
                for at in range(address, address + count, _PART)
            )
        first = address // _PAGE * _PAGE
        pages = [self._page(each) for each in range(first, address + count, _PAGE)]
        if all(len(each) == _PAGE for each in pages):
            return b"".join(pages)[address - first :][:count]
        return self._exactly(address, count)

    def _page(self, address: int) -> bytes:
        """Read a page, or take it from those that were read a moment ago; shorter with a gap."""
        now = time.monotonic()
        since, data = self._pages.get(address, (0.0, b""))
        if not data or now - since > self._keep_s:
            data = self._inferior.read_or_nothing(address, _PAGE)
            self._pages[address] = (now, data)
            self._pages.move_to_end(address)
            if len(self._pages) > _MOST_PAGES:
                self._pages.popitem(last=False)
        return data

    def _exactly(self, address: int, count: int) -> bytes:
        data = b""
        while len(data) < count:  # it is read up to the first gap, and what is left tells why
            at = address + len(data)
            try:
                data += self._inferior.read(at, count - len(data))
            except PeekError as error:
                raise drgn.FaultError(str(error), at) from error
        return data
