"""Folders that other users can get to: those of pytest are their owner's alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = f"farpeek-test-{os.getpid()}-"


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that everybody may pass through, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def open_folders() -> set[Path]:
    """Return those of this test run that are there now."""
    return set(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))
