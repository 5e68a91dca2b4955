"""Volumes of ConfigMaps and Secrets, laid out and swapped as the kubelet does it.

Names are links into `..data`, which is a link to a folder; an update puts another folder there by
one rename (pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_numbers = itertools.count(1)


class Volume:
    """A folder with ``files``, each of this mode and group."""

    def __init__(
        self, folder: Path, files: Mapping[str, bytes], mode: int = 0o644, group: int = 0
    ) -> None:
        self.folder = folder
        self._mode = mode
        self._group = group
        folder.mkdir(exist_ok=True)
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")
        self.swap(files)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def swap(self, files: Mapping[str, bytes]) -> None:
        """Give all of the files another content at once."""
        fresh = self.folder / f"..2026_06_02_12_23_26.{next(_numbers)}"
        fresh.mkdir(mode=0o755)
        for name, content in files.items():
            (fresh / name).write_bytes(content)
            os.chown(fresh / name, -1, self._group or -1)
            (fresh / name).chmod(self._mode)
        data, link = self.folder / "..data", self.folder / "..data_tmp"
        before = data.resolve()
        link.symlink_to(fresh.name)
        link.rename(data)
        if before != data:
            shutil.rmtree(before)
