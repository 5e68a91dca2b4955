"""Reading that waits: faults are resolved, as they would be for the process itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek import columns, regions
from farpeek.access.reading import place_in_request, read_verified
from farpeek.access.vector import read_all, read_vector
from farpeek.model import Backend, Gap, OnGap, Process, ReadResult, ReadSpec
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.process_ref import ProcessRef
    from farpeek.mappings.maps import GapClassifier


class WaitAccess:
    """Reads by process_vm_readv(2) without PROCESS_VM_NOWAIT."""

    def __init__(
        self, name: Callable[[Process], ProcessRef], classifier: GapClassifier, backend: Backend
    ) -> None:
        self._name = name
        self._classifier = classifier
        self.backend = backend

    def read(self, process: Process, spec: ReadSpec, deadline: float) -> ReadResult:
        """See ``Access.read``. Blocks in page faults for as long as they take."""
        attempt = self._to_first_gap if spec.on_gap is OnGap.STOP else self._all
        return read_verified(self._name(process), attempt, spec, deadline)

    def _all(self, ref: ProcessRef, spec: ReadSpec, deadline: float) -> ReadResult:
        """Go on behind holes, in the order of the addresses."""
        runs = regions.merge(spec.regions)
        content, places = read_all(ref, runs, deadline)
        explained = self._classifier.classify(ref.proc, places) if places else []
        missing = regions.gaps(spec.regions, regions.join(explained))
        requested = columns.total(columns.column(spec.regions.lengths))
        return ReadResult(
            data=regions.lay_out(spec.regions, runs, content),
            requested=requested,
            read=requested - sum(gap.length for gap in missing),
            gaps=missing,
            backend=self.backend,
        )

    def _to_first_gap(self, ref: ProcessRef, spec: ReadSpec, deadline: float) -> ReadResult:
        """End at the first hole, in the order of the request, as the system call does."""
        asked = regions.without_empty(spec.regions)
        vector = read_vector(ref, Runs(asked.addresses, asked.lengths, in_order=True))
        place = vector.until_hole(deadline)
        requested = len(vector.content)
        if place is None:
            return ReadResult(vector.content, requested, requested, (), self.backend)
        start, end = place
        done = vector.done - (end - start)
        hole = self._classifier.classify(ref.proc, [place])[0]
        number, offset = place_in_request(spec, done)
        left = spec.regions.lengths[number] - offset
        gap = Gap(number, offset, start, left, hole.reason)
        return ReadResult(vector.content[:done], requested, done, (gap,), self.backend)
