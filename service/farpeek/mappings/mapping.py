"""One mapping of a process: a value, which everything about mappings shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from farpeek.model import PAGE_SIZE

# The kernel maps these for the process's own use; the map may call them readable.
_KERNEL_PAGES: Final = (b"[vvar", b"[vsyscall]")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A line of proc_pid_maps(5); ``device`` is (major, minor), ``path`` is unescaped."""

    start: int
    end: int
    perms: str
    offset: int
    device: tuple[int, int]
    inode: int
    path: bytes

    @property
    def readable(self) -> bool:
        """Whether another process may read it, by its permissions and its kind."""
        return (
            self.perms[0] == "r"
            and not self.path.startswith(_KERNEL_PAGES)
            and not self.path.startswith(b"/secretmem")
        )

    @property
    def writable(self) -> bool:
        """Whether another process may write it; process_vm_writev(2) keeps to the permissions."""
        return self.perms[1] == "w" and not self.path.startswith(b"/secretmem")

    @property
    def shared(self) -> bool:
        """Whether others see what is written to it: processes, or readers of its file."""
        return self.perms[3] == "s"

    def end_of_file(self, size: int) -> int:
        """The address behind the last page that has bytes of the file, if that has ``size``."""
        pages = -(-size // PAGE_SIZE) * PAGE_SIZE
        return max(self.start, self.start + pages - self.offset)
