"""Copies of the files that a target executes, for a debugger that opens files by itself.

Libraries lie below a folder under the names that the target's dynamic linker was asked for, so
that the folder can stand for its root: what has such a name here may be another file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from farpeek_api.client import PeekError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek_api.gateway.inferior import Inferior

MOST_BYTES: Final = 2 << 30
"""What is copied of a target in all: large programs have some 500 MiB."""

_PART: Final = 1 << 20
_LONGEST_NAME: Final = 2048
_LONGEST_PART: Final = 255  # NAME_MAX
_HARMLESS: Final = re.compile(r"[\w.+-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the file behind ``address``, by the name that the target has for it."""

    name: str
    address: int
    path: Path


class Copies:
    """``program`` is the copy of the program, None without; ``missing`` counts what is not there.

    A file is left out where the service does not open it, and where there is no room for it.
    """

    def __init__(self, inferior: Inferior, folder: Path) -> None:
        """Make them. Raises OSError, and PeekError where nothing can be had of the target."""
        self._inferior = inferior
        self._left = MOST_BYTES
        self.root = folder / "root"
        self.root.mkdir()
        self.missing = 0
        self.program = self._copy_program(folder / "program")
        self.libraries: list[Copy] = []
        for name, address in self._libraries():
            path = below(self.root, name)
            if path is None or not self._copy(address, path):
                self.missing += 1
            else:
                self.libraries.append(Copy(name, address, path))

    def _copy_program(self, folder: Path) -> Copy | None:
        """Copy it, under its own name if a debugger's command line cannot take that amiss."""
        entry = self._inferior.auxv.get("AT_ENTRY", 0)
        mapping = self._inferior.mapping(entry)
        name = PurePosixPath(mapping.path if mapping and mapping.path else "").name
        name = name.removesuffix(" (deleted)")
        path = folder / (name if _HARMLESS.fullmatch(name) else "program")
        return Copy(name, entry, path) if self._copy(entry, path) else None

    def _libraries(self) -> Iterator[tuple[str, int]]:
        """Give each one's name and an address in it; the vDSO has no file."""
        for each in self._inferior.libraries[1]:
            mapping = self._inferior.mapping(each.dynamic)
            if mapping is not None and mapping.path and mapping.path.startswith("/"):
                yield each.name, each.dynamic

    def _copy(self, address: int, path: Path) -> bool:
        """Copy the file behind an address; False if it cannot be had."""
        target = self._inferior.target
        try:
            info = target.file_info(address)
        except PeekError:
            return False
        if info.size > self._left or path.exists():
            return path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            try:
                for start in range(0, info.size, _PART):
                    length = min(_PART, info.size - start)
                    file.write(target.read_file(address, start, length, version=info.version))
            except PeekError:  # it was changed meanwhile, or the target has exited
                path.unlink()
                return False
        self._left -= info.size
        return True


def below(folder: Path, name: str) -> Path | None:
    """Find the place of a name that a target chose; None where it would lie elsewhere."""
    parts = PurePosixPath(name).parts
    if parts[:1] != ("/",) or ".." in parts or len(os.fsencode(name)) > _LONGEST_NAME:
        return None
    if "\0" in name or any(len(os.fsencode(part)) > _LONGEST_PART for part in parts):
        return None
    return folder.joinpath(*parts[1:])
