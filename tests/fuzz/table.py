"""All targets, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fuzz import debuggers, plans, proc, searches, wire, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    each.__name__: each
    for each in (
        wire.json_reads,
        wire.json_others,
        wire.iov,
        wire.stream_messages,
        wire.ranges,
        wire.frames_in,
        wire.frames_through,
        wire.pieces,
        plans.plan_bodies,
        plans.plans_done,
        searches.search_bodies,
        searches.search_lines,
        searches.scans,
        debuggers.packets_in,
        debuggers.packets_out,
        debuggers.core_notes,
        words.tickets,
        words.expressions,
        words.words,
        words.listen_addresses,
        words.policy_files,
        words.token_words,
        words.token_files,
        words.audits,
        proc.name_texts,
        proc.statuses,
        proc.stats,
        proc.maps_lines,
        proc.smaps,
        proc.mountinfo,
        proc.cgroup_files,
        proc.command_lines,
        proc.environment_files,
        proc.aux_vectors,
        proc.elf_notes,
        proc.page_entries,
    )
}
