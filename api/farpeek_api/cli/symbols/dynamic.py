"""The .dynsym of a mapped file, out of the target's memory, where every loaded file has it.

It is a generator of regions, which is sent the bytes that could be read of each, up to the first
gap. So the files of a target are read together, a request for each step.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, TypeAlias

from farpeek_api.cli.symbols import elf
from farpeek_api.cli.symbols.elf import Header, NoElf
from farpeek_api.cli.symbols.table import Table

Regions: TypeAlias = list[tuple[int, int]]
Reading: TypeAlias = Generator[Regions, Sequence[bytes], Table]
"""Raises NoElf."""

_DT_HASH: Final = 4
_DT_STRTAB: Final = 5
_DT_SYMTAB: Final = 6
_DT_STRSZ: Final = 10
_DT_GNU_HASH: Final = 0x6FFFFEF5
_DT_VERSYM: Final = 0x6FFFFFF0
_LARGEST_DYNAMIC: Final = 1 << 16
_MOST_BUCKETS: Final = elf.MOST_SYMBOLS
_CHAIN: Final = 1024
"""Bytes of a hash chain that are read at a time: 256 symbols. Chains are short."""


def read(base: int, end: int) -> Reading:
    """Read the table of the file that is mapped from ``base`` up to ``end``."""
    (data,) = yield [(base, elf.HEADER_SIZE)]
    header = Header(data)
    offset, length = header.segments
    (data,) = yield [(base + offset, length)]
    segments = header.parse_segments(data)
    bias = elf.load_bias(segments, base)
    dynamic = next((each for each in segments if each.kind == elf.PT_DYNAMIC), None)
    if dynamic is None or not 0 < dynamic.memory_size <= _LARGEST_DYNAMIC:
        raise NoElf("it has no dynamic section")
    (data,) = yield [(bias + dynamic.address, dynamic.memory_size)]
    tags = header.parse_dynamic(data)

    def place(tag: int) -> int:
        # glibc has put the addresses in; musl, and the vDSO, have them as in the file.
        value = tags.get(tag, 0)
        return value if base <= value < end or not value else value + bias

    count = yield from _count(header, place(_DT_HASH), place(_DT_GNU_HASH))
    strings_length = tags.get(_DT_STRSZ, 0)
    if not 0 < count <= elf.MOST_SYMBOLS or not 0 < strings_length <= elf.LARGEST_STRINGS:
        raise NoElf("its symbol table makes no sense")
    symbols, strings, versions = yield [
        (place(_DT_SYMTAB), count * header.symbol_size),
        (place(_DT_STRTAB), strings_length),
        (place(_DT_VERSYM), count * 2),
    ]
    return Table(header, symbols, strings, bias, versions)


def _count(
    header: Header, hashes: int, gnu_hashes: int
) -> Generator[Regions, Sequence[bytes], int]:
    """How many symbols there are: only their hash tables say so."""
    if hashes:
        (data,) = yield [(hashes, 8)]
        return (*header.words(data), 0, 0)[1]
    if not gnu_hashes:
        raise NoElf("nothing says how many symbols it has")
    (data,) = yield [(gnu_hashes, 16)]
    bucket_count, first, bloom_size, _ = (*header.words(data), 0, 0, 0, 0)[:4]
    if not 0 < bucket_count <= _MOST_BUCKETS or bloom_size > _MOST_BUCKETS:
        raise NoElf("its hash table makes no sense")
    buckets = gnu_hashes + 16 + bloom_size * (8 if header.is_64 else 4)
    (data,) = yield [(buckets, bucket_count * 4)]
    last = max(header.words(data), default=0)
    if last < first:
        return first
    # The chain of the highest bucket is the last: it ends with the last symbol.
    chain = buckets + bucket_count * 4
    while last < elf.MOST_SYMBOLS:
        (data,) = yield [(chain + (last - first) * 4, _CHAIN)]
        words = header.words(data)
        for number, word in enumerate(words):
            if word & 1:
                return last + number + 1
        if not words:
            break
        last += len(words)
    raise NoElf("its hash table does not end")
