"""All that can be asked of the service: one table, which routes and documents are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.operations import following, memory, service, targets

if TYPE_CHECKING:
    from farpeek_api.operations.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    memory.READV,
    memory.READV_MANY,
    memory.PLAN,
    memory.SEARCH,
    memory.WRITEV,
    memory.MEMORY,
    memory.MEMORY_HEAD,
    memory.MEMORY_PIECES,
    memory.FILE,
    memory.CORE,
    targets.PROCESSES,
    targets.LIST,
    targets.REGISTER,
    targets.GET,
    targets.RELEASE,
    targets.MAPS,
    targets.AUXV,
    targets.THREADS,
    targets.LIST_MATCHES,
    targets.CREATE_MATCH,
    targets.GET_MATCH,
    targets.DELETE_MATCH,
    following.EVENTS,
    following.STREAM,
    following.STREAM_TICKET,
    service.LIVE,
    service.READY,
    service.METRICS,
    service.INFO,
    service.DOCTOR,
    service.OPENAPI,
    service.DOCS,
    service.DOCS_FILE,
    service.PAGE,
    service.PAGE_FILE,
)
