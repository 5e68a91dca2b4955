"""What a search says, and what it finds: values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from farpeek.model import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.mappings.mapping import Mapping

LONGEST_MATCH: Final = 4096
"""Bytes of a pattern, and of what a regular expression matches."""
LONGEST_REGEX: Final = 4096
"""Bytes of a regular expression."""
MOST_CONTEXT: Final = 1024
"""Bytes on either side of a match."""
MOST_MATCHES: Final = 1_000_000
MOST_RANGES: Final = 4096
MOST_WITHIN: Final = 65_536
"""Addresses of an earlier search."""
MOST_MAPPINGS: Final = 65_536
"""Of a target, that one search goes through."""
LARGEST_ALIGN: Final = 4096
LONGEST_S: Final = 300.0


class Encoding(StrEnum):
    """How a text is bytes."""

    UTF_8 = "utf-8"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    UTF_32_LE = "utf-32-le"
    UTF_32_BE = "utf-32-be"
    LATIN_1 = "latin-1"


class NumberType(StrEnum):
    """A number in memory; bytes lie in the target's order."""

    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    F32 = "f32"
    F64 = "f64"


@dataclass(frozen=True, slots=True)
class Text:
    """A text, exactly as it is."""

    text: str
    encoding: Encoding = Encoding.UTF_8


@dataclass(frozen=True, slots=True)
class Hex:
    """Bytes in hex, `??` for any: ``4d ?? 49``."""

    hex: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number at addresses that ``align`` divides; None: those of its size."""

    number: float
    type: NumberType
    align: int | None = None


@dataclass(frozen=True, slots=True)
class PointerTo:
    """A pointer, at an address that its size divides, to ``start .. end``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression of RE2, over bytes."""

    regex: str


Pattern: TypeAlias = Text | Hex | Number | PointerTo | Regex


class MappingKind(StrEnum):
    """What a mapping is of."""

    HEAP = "heap"
    STACK = "stack"
    ANONYMOUS = "anonymous"
    FILE = "file"
    SPECIAL = "special"  # [vdso] and what else the kernel names

    @classmethod
    def of(cls, mapping: Mapping) -> MappingKind:
        """Tell it by the name that the kernel gives."""
        path = mapping.path
        if path == b"[heap]":
            return cls.HEAP
        if path.startswith(b"[stack"):
            return cls.STACK
        if not path or path.startswith((b"[anon:", b"[anon_shmem:")):
            return cls.ANONYMOUS
        return cls.SPECIAL if path.startswith(b"[") else cls.FILE


@dataclass(frozen=True, slots=True)
class Filter:
    """Which mappings are searched: those that fit all that is given.

    ``perms``: letters that its permissions have, as proc_pid_maps(5) writes them. ``path`` is a
    shell glob that fits the whole name.
    """

    perms: str = ""
    kinds: frozenset[MappingKind] = frozenset()  # none: all
    path: str | None = None


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """One search. ``ranges`` (start, end): there alone; None: everywhere that ``filter`` fits."""

    pattern: Pattern
    ranges: Sequence[tuple[int, int]] | None = None
    filter: Filter = Filter()
    mode: Mode = Mode.NOWAIT
    limit: int = 10_000
    context: int = 32
    within: Sequence[int] | None = None  # only matches that begin at one of these
    timeout_s: float = LONGEST_S
    generation: int | None = None  # the program that is meant; None: that of the first byte


class Found(NamedTuple):
    """A match: ``context`` has ``before`` bytes in front of it, the match, and what is behind."""

    address: int
    length: int
    mapping: Mapping | None  # which holds its first byte
    context: bytes
    before: int


class Stopped(StrEnum):
    """Why a search ended before it was through."""

    LIMIT = "limit"
    DEADLINE = "deadline"
    TARGET_EXITED = "target-exited"
    TARGET_CHANGED = "target-changed"  # it executes another program


@dataclass(slots=True)
class Progress:
    """How far a search has come, in bytes: ``of`` so many, ``skipped`` were left alone."""

    of: int = 0
    bytes: int = 0
    skipped: int = 0
    matches: int = 0
    is_done: bool = False
    stopped: Stopped | None = None  # of one that is done; None: it is through
