"""Folders that other users can get to: those of pytest are their owner's alone."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = f"farpeek-test-{secrets.token_hex(4)}"
"""What begins the names of this process's things that the whole host has in common.

Test processes beside each other have a pid namespace each, and the same number in it.
"""


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that everybody may pass through, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{OURS}-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def open_folders() -> set[Path]:
    """Return those of this test run that are there now."""
    return set(Path(tempfile.gettempdir()).glob(f"{OURS}-*"))
