"""YARA rules over the memory of a target that goes on: ``scan(target, rules, ranges)``.

It takes YARA-X: ``pip install 'farpeek[yara]'``. Rules are compiled and matched here, by whoever
asks, and never in the service: a rule can include files and take any time.

Memory is scanned in blocks, of what is there without a hole, 16 MiB at most. A condition is that of
one block, so ``filesize``, offsets and counts say nothing of the whole. Blocks of one stretch
overlap by `OVERLAP`, and a match that is in both is told of once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

try:
    import yara_x
except ImportError as error:  # said here, for nothing else of farpeek takes it
    raise ImportError("farpeek_api.yara takes YARA-X: pip install 'farpeek[yara]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek_api.client import Target
    from farpeek_api.client.calls import Mode

CompileError = yara_x.CompileError

BLOCK: Final = 16 << 20
OVERLAP: Final = 64 << 10
"""Bytes that two blocks share: a longer match over the edge of one may be missed."""

_LONGEST_S: Final = 60
"""For one block; YARA-X counts whole seconds."""


class TooCostly(Exception):
    """The rules take longer for one block than `scan` may."""


@dataclass(frozen=True, slots=True)
class YaraMatch:
    """Where a pattern of a rule was met whose condition holds for that block.

    Of a rule whose condition holds without any, ``pattern`` is None, and it is the block itself.
    """

    rule: str
    pattern: str | None
    address: int
    length: int


def compiled(source: str, origin: str | None = None) -> yara_x.Rules:
    """Make rules of a text; ``include`` is refused. Raises yara_x.CompileError."""
    compiler = yara_x.Compiler(includes_enabled=False)
    compiler.add_source(source, origin)
    return compiler.build()


def scan(
    target: Target,
    rules: yara_x.Rules,
    ranges: Sequence[tuple[int, int]],
    *,
    mode: Mode = "nowait",
    timeout_s: int = _LONGEST_S,
) -> Iterator[YaraMatch]:
    """Give what the rules find in ``(from, to)`` ranges, block by block.

    By default nothing is brought into memory for it. Memory that nobody has touched is left out.
    Raises PeekError, and TooCostly.
    """
    scanner = yara_x.Scanner(rules)
    scanner.set_timeout(timeout_s)
    for address, block, known in _blocks(target, ranges, mode):
        try:
            found = scanner.scan(block)
        except yara_x.TimeoutError:
            text = f"the rules take over {timeout_s} s for {len(block)} bytes at {address:#x}"
            raise TooCostly(text) from None
        yield from _matches(found, address, len(block), known)


def _matches(found: yara_x.ScanResults, address: int, size: int, known: int) -> Iterator[YaraMatch]:
    """Give the matches of a block, but for those in the ``known`` bytes that begin it."""
    for rule in found.matching_rules:
        if not rule.patterns:
            yield YaraMatch(rule.identifier, None, address, size)
        for pattern in rule.patterns:
            for match in pattern.matches:
                if match.offset + match.length > known:
                    place = address + match.offset
                    yield YaraMatch(rule.identifier, pattern.identifier, place, match.length)


def _blocks(
    target: Target, ranges: Sequence[tuple[int, int]], mode: Mode
) -> Iterator[tuple[int, bytes, int]]:
    """Give the address of each block, its bytes, and how many of them the last one had, too."""
    block, start, known = bytearray(), 0, 0
    for piece in target.pieces(ranges, mode=mode):
        touches = block and piece.kind == "data" and piece.address == start + len(block)
        if block and not touches:
            yield start, bytes(block), known
            block, known = bytearray(), 0
        if piece.kind != "data":
            continue
        if not block:
            start = piece.address
        block += piece.data
        while len(block) >= BLOCK:
            yield start, bytes(block[:BLOCK]), known
            del block[: BLOCK - OVERLAP]
            start, known = start + BLOCK - OVERLAP, OVERLAP
    if len(block) > known:
        yield start, bytes(block), known
