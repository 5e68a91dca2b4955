"""The two clients: `Client` waits, `AsyncClient` awaits. All else they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from farpeek_api.client import address, calls
from farpeek_api.client.address import Node
from farpeek_api.client.drivers import AsyncDriver, Driver
from farpeek_api.client.matches import Matches
from farpeek_api.client.operations import Awaiting, Waiting, flow, operation
from farpeek_api.client.steps import PATIENCE_S
from farpeek_api.client.target import AsyncTarget, Operations, Target
from farpeek_api.client.wire import Wire

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Mapping, Sequence
    from typing import Self

    from farpeek_api.client.address import Place
    from farpeek_api.client.calls import Mode, OnGap
    from farpeek_api.client.events import Event
    from farpeek_api.client.problems import Problem
    from farpeek_api.client.results import Process, ReadResult, TargetInfo
    from farpeek_api.client.steps import Call, Flow
    from farpeek_api.client.stream import AsyncStream, Stream

TargetT = TypeVar("TargetT", bound=Operations)


class ClientOperations(Matches, Generic[TargetT]):
    """What a service can be asked for. In `AsyncClient` each of these is awaited.

    All of them raise `Problem`, and `Unreachable` or `Interrupted` without a service.
    """

    def __init__(  # noqa: PLR0913 - ways to say where the service is
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        retries: int = 0,
        verify: ssl.SSLContext | None = None,
        nats: str | None = None,
        node: str | None = None,
        client: str | None = None,
        nkey: str | os.PathLike[str] | None = None,
        credentials: str | os.PathLike[str] | None = None,
    ) -> None:
        if node is None and (nats or client or nkey or credentials):
            raise ValueError("`nats` is the way to a node: give `node`, too")
        if node is not None and (url or token or token_file):
            raise ValueError("a node is reached by a broker: leave `url` and tokens out")
        self.place = (
            address.find(url, token, token_file)
            if node is None
            else Node.find(node, nats, client, nkey, credentials).place
        )
        """Where the service is, and the token for it."""
        self._connect(Wire(self.place, verify), retries)

    @classmethod
    def at(cls, place: Place) -> Self:
        """Make a client of a place that was found before."""
        made = cls.__new__(cls)
        made.place = place
        made._connect(Wire(place, None), 0)  # noqa: SLF001 - its own
        return made

    def _connect(self, wire: Wire, retries: int) -> None:
        raise NotImplementedError

    def _target_of(self, info: TargetInfo) -> TargetT:
        raise NotImplementedError

    @operation
    def target(  # noqa: PLR0913 - ways to say what a process is
        self,
        process: int | str | None = None,
        *,
        comm: str | None = None,
        exe: str | None = None,
        uid: int | None = None,
        cgroup: str | None = None,
        container: str | None = None,
        ns_pid: int | None = None,
        labels: Mapping[str, str] | None = None,
        pid_namespace: str | None = None,
    ) -> Call[TargetT]:
        """Register a process by its pid, by a target's id, or by what it is (shell globs).

        Registering it again gives the same target. ``pid_namespace`` is ``"caller"`` or
        ``"service"``: where a pid counts. NoSuchProcess if none fits, Ambiguous if several do,
        TargetExited for the id of a process that is gone; ValueError unless it is named one way.

        >>> peek.target(pid).id == peek.target(target.id).id
        True
        """
        match = {
            "comm": comm,
            "exe": exe,
            "uid": uid,
            "cgroup": cgroup,
            "container": container,
            "ns_pid": ns_pid,
        }
        which = calls.which_process(process, match, pid_namespace)
        return self._register(which, labels)

    @operation
    def register_all(  # noqa: PLR0913 - ways to say what a process is
        self,
        *,
        comm: str | None = None,
        exe: str | None = None,
        uid: int | None = None,
        cgroup: str | None = None,
        container: str | None = None,
        ns_pid: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Call[tuple[list[TargetT], list[tuple[int, Problem]]]]:
        """Register all processes that fit now; the targets, and pids with what stands against them.

        At most 4,096. `hold` is for those that come later, too.

        >>> targets, refused = peek.register_all(comm=target.info.process.comm)
        >>> target.id in [each.id for each in targets]
        True
        """
        match = {
            "comm": comm,
            "exe": exe,
            "uid": uid,
            "cgroup": cgroup,
            "container": container,
            "ns_pid": ns_pid,
        }
        return self._register_all(match, labels)

    def _register_all(
        self, match: Mapping[str, object], labels: Mapping[str, str] | None
    ) -> Call[tuple[list[TargetT], list[tuple[int, Problem]]]]:
        found, refused = yield from calls.register_all(match, labels)
        return [self._target_of(each) for each in found], refused

    @operation
    def myself(self, *, labels: Mapping[str, str] | None = None) -> Call[TargetT]:
        """Register the calling process, in whatever pid namespace it is; by unix sockets only.

        Unsupported where the kernel does not tell who calls (before Linux 6.5).

        >>> import os
        >>> peek.myself().info.process.ns_pids[-1] == os.getpid()
        True
        """
        return self._register({"self": True}, labels)

    def _register(
        self, which: Mapping[str, object], labels: Mapping[str, str] | None
    ) -> Call[TargetT]:
        return self._target_of((yield from calls.register(which, labels)))

    @operation
    def targets(self, *, state: str | None = None, label: str | None = None) -> Call[list[TargetT]]:
        """List the targets of a ``state`` (``running``, ...) or a ``label`` (KEY=VALUE).

        >>> target.id in [each.id for each in peek.targets(state="running")]
        True
        """
        return self._targets(state, label)

    def _targets(self, state: str | None, label: str | None) -> Call[list[TargetT]]:
        return [self._target_of(each) for each in (yield from calls.targets(state, label))]

    @operation
    def processes(
        self,
        *,
        comm: str | None = None,
        exe: str | None = None,
        uid: int | None = None,
        cgroup: str | None = None,
        container: str | None = None,
    ) -> Call[list[Process]]:
        """List the processes that the service can see and that fit (shell globs).

        >>> pid in [each.pid for each in peek.processes(comm="python*")]
        True
        """
        match = {"comm": comm, "exe": exe, "uid": uid, "cgroup": cgroup, "container": container}
        return calls.processes(match)

    @operation
    def info(self) -> Call[Mapping[str, object]]:
        """Ask what the service is, can do here, and how it is doing: ``GET /v1/info``.

        >>> peek.info()["api"]
        'v1'
        """
        return calls.info()

    @operation
    def readv(
        self,
        reads: Sequence[tuple[Operations | str, Sequence[tuple[int, int]]]],
        *,
        mode: Mode | None = None,
        on_gap: OnGap | None = None,
        timeout_s: float | None = None,
    ) -> Call[list[ReadResult | Problem]]:
        r"""Read from many targets: pairs of a target (or its id) and its regions.

        What stands against one of them is a `Problem` in its place, and costs the others nothing.

        >>> one, other = peek.readv([(target, [(address, 2)]), ("gone", [(address, 2)])])
        >>> one.data, other.slug
        (b'\x00\x01', 'no-such-target')
        """
        wanted = [(each if isinstance(each, str) else each.id, regions) for each, regions in reads]
        options = {"mode": mode, "on_gap": on_gap, "timeout_s": timeout_s}
        return calls.read_many(wanted, options)

    @flow
    def events(
        self,
        target: Operations | str | None = None,
        *,
        after: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Flow[Event]:
        """Follow what happens to targets, or to one of them; it does not end by itself.

        It begins when the first one is asked for: with what comes then, or with what the service
        still knows behind the event number ``after`` (0: all of it). Where the connection ends it
        is taken up again, also by a service that was started again; what could not be had is told
        by an event ``lost``. After ``patience_s`` seconds without a service, Unreachable or
        Interrupted.

        >>> happened = peek.events(after=0)
        >>> next(event.kind for event in happened if event.kind != "lost")
        'registered'
        >>> happened.close()
        """
        from farpeek_api.client import events as event_stream

        target_id = target.id if isinstance(target, Operations) else target
        return event_stream.events(target_id, after, patience_s)


class Client(ClientOperations[Target], Waiting):
    """A farpeek service, asked synchronously; of use to several threads at once.

    It is found at ``url`` (``unix:PATH``, ``http://HOST:PORT``, ``https://...``), else at
    ``$FARPEEK_URL``, at the default socket, or at ``http://127.0.0.1:7335``. The token is
    ``token``, else the first of ``token_file``, of ``$FARPEEK_TOKEN_FILE``, or of the file
    ``token`` beside the socket. ``retries`` is how often a request is put again that found the
    service too busy (429). ``verify`` is the TLS context of an ``https`` address.

    Raises Unreachable for a default socket that nobody listens on, ValueError for what is no
    address, OSError for a token file that cannot be read.

    >>> with Client(url) as other:
    ...     other.target(pid).u8(address)
    0
    """

    def _connect(self, wire: Wire, retries: int) -> None:
        self._driver = Driver(wire, retries)

    def _target_of(self, info: TargetInfo) -> Target:
        return Target(self._driver, info)

    def stream(self) -> Stream:
        """Make a stream, which ``with`` opens: many reads in flight, and subscriptions.

        >>> with peek.stream() as stream:
        ...     stream.readv(target, [(address, 2)]).result().data.hex()
        '0001'
        """
        from farpeek_api.client.stream import Stream

        return Stream(self._driver)

    def close(self) -> None:
        """Close all connections. Targets stay registered.

        >>> Client(url).close()
        """
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(ClientOperations[AsyncTarget], Awaiting):
    """A farpeek service, asked asynchronously. It takes what `Client` takes.

    >>> import asyncio
    >>> async def first_byte() -> int:
    ...     async with AsyncClient(url) as peek:
    ...         target = await peek.target(pid)
    ...         return await target.u8(address)
    >>> asyncio.run(first_byte())
    0
    """

    def _connect(self, wire: Wire, retries: int) -> None:
        self._driver = AsyncDriver(wire, retries)

    def _target_of(self, info: TargetInfo) -> AsyncTarget:
        return AsyncTarget(self._driver, info)

    def stream(self) -> AsyncStream:
        """Make a stream, which ``async with`` opens: reads in flight, and subscriptions.

        >>> import asyncio
        >>> async def two_bytes() -> bytes:
        ...     async with AsyncClient(url) as peek, peek.stream() as stream:
        ...         target = await peek.target(pid)
        ...         return (await stream.readv(target, [(address, 2)])).data
        >>> asyncio.run(two_bytes()).hex()
        '0001'
        """
        from farpeek_api.client.stream import AsyncStream

        return AsyncStream(self._driver)

    async def close(self) -> None:
        """Close all connections. Targets stay registered."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
