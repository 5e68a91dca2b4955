"""Cores of processes that go on: what an ELF core (core(5), elf(5)) says, and in which order."""

from farpeek.cores.work import HEAD_COST, begin

__all__ = ["HEAD_COST", "begin"]
