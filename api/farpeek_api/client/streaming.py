"""What a stream is for, in either flavour."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from farpeek_api.client.conversation import Conversation

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import Callable, Sequence
    from typing import Self

    from farpeek_api.client.calls import Mode, OnGap
    from farpeek_api.client.operations import Awaiting, Waiting
    from farpeek_api.client.plans import Plan
    from farpeek_api.client.problems import PeekError
    from farpeek_api.client.results import ReadResult
    from farpeek_api.client.target import Operations

    Put = Callable[[Callable[[ReadResult | PeekError], None]], bytes]

P = ParamSpec("P")
S = TypeVar("S")
SubscriptionT = TypeVar("SubscriptionT")


class Named(Protocol):
    """Something that the service knows by an id."""

    @property
    def id(self) -> str:
        """The id."""
        ...


class reading(Generic[S, P]):  # noqa: N801 - a decorator
    """Makes a method, which gives a future of its flavour, of what puts a read."""

    def __init__(self, put: Callable[Concatenate[S, P], Put]) -> None:
        self._put = put
        self.__doc__ = put.__doc__
        self.__name__ = put.__name__
        self.__module__ = put.__module__

    @overload
    def __get__(
        self, instance: Waiting, owner: object
    ) -> Callable[P, concurrent.futures.Future[ReadResult]]: ...
    @overload
    def __get__(
        self, instance: Awaiting, owner: object
    ) -> Callable[P, asyncio.Future[ReadResult]]: ...
    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...

    def __get__(self, instance: Any, owner: object) -> Any:
        if instance is None:
            return self
        put = self._put

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - the overloads say it
            return instance._promise(put(instance, *args, **kwargs))  # noqa: SLF001

        return update_wrapper(method, put)


class StreamOperations(Generic[SubscriptionT]):
    """What a stream is for, in either flavour. It is opened by ``with``, or ``async with``."""

    def __init__(self) -> None:
        self._conversation = Conversation()

    @reading
    def readv(  # noqa: PLR0913 - the members of a read
        self,
        target: Operations | str,
        regions: Sequence[tuple[int, int]],
        *,
        mode: Mode | None = None,
        on_gap: OnGap | None = None,
        timeout_s: float | None = None,
        stable: int | None = None,
        prefetch: bool | None = None,
        generation: int | None = None,
    ) -> Put:
        r"""Begin to read ``(address, length)`` pairs, as `Target.readv` does; a future of it.

        The future has the `ReadResult`, or raises the `Problem`, or Interrupted if the stream ends
        before. Reads are answered in the order in which they are done. In `AsyncClient` the future
        is awaited.

        >>> with peek.stream() as stream:
        ...     futures = [stream.readv(target, [(address + n, 1)]) for n in range(3)]
        ...     [future.result().data for future in futures]
        [b'\x00', b'\x01', b'\x02']
        """
        options = {
            "mode": mode,
            "on_gap": on_gap,
            "timeout_s": timeout_s,
            "stable": stable,
            "prefetch": prefetch,
            "generation": generation,
        }
        return partial(self._conversation.read, _id_of(target), regions, options)

    def subscribe(  # noqa: PLR0913 - the members of a subscription
        self,
        target: Operations | str,
        regions: Sequence[tuple[int, int]],
        *,
        hz: float,
        mode: Mode | None = None,
        changed_only: bool | None = None,
        prefetch: bool | None = None,
        generation: int | None = None,
    ) -> SubscriptionT:
        r"""Have regions read ``hz`` times a second; the subscription is iterated over for `Tick`s.

        With ``changed_only`` a tick comes only when bytes or gaps are other than before. It ends
        when the target exits (``ended`` is ``target-exited``) or when it is closed; any other end
        raises the `Problem`: NoSuchTarget, TargetChanged, TargetStuck, ShuttingDown, ...; or
        Interrupted. Ticks that nobody takes are dropped beyond some thousands, and counted.

        >>> with peek.stream() as stream, stream.subscribe(target, [(address, 2)], hz=50) as ticks:
        ...     tick = next(iter(ticks))
        >>> tick.number, tick.data
        (1, b'\x00\x01')
        """
        options = {
            "target": _id_of(target),
            "hz": hz,
            "mode": mode,
            "changed_only": changed_only,
            "prefetch": prefetch,
            "generation": generation,
        }
        return self._subscribe(regions, options)

    def subscribe_match(
        self,
        match: Named | str,
        regions: Sequence[tuple[int, int]],
        *,
        hz: float,
        mode: Mode | None = None,
        changed_only: bool | None = None,
        prefetch: bool | None = None,
    ) -> SubscriptionT:
        """Do the same for all targets of a standing match, those that come later as well.

        ``match`` is it, or its id. ``result.target`` of a `Tick` says which target it is of; each
        counts its own. ``left`` of the subscription has the targets that are sampled no more.
        NoSuchMatch when the match has ended.

        >>> with peek.stream() as stream:  # doctest: +IGNORE_EXCEPTION_DETAIL
        ...     next(stream.subscribe_match("gone", [(address, 2)], hz=20))
        Traceback (most recent call last):
        farpeek_api.client.problems.NoSuchMatch: ...
        """
        options = {
            "match": match if isinstance(match, str) else match.id,
            "hz": hz,
            "mode": mode,
            "changed_only": changed_only,
            "prefetch": prefetch,
        }
        return self._subscribe(regions, options)

    def subscribe_plan(
        self,
        target: Operations | str,
        plan: Plan | Mapping[str, object],
        *,
        hz: float,
        mode: Mode | None = None,
        changed_only: bool | None = None,
        generation: int | None = None,
    ) -> SubscriptionT:
        """Have a plan done ``hz`` times a second, as `subscribe`; ``plan`` of a `Tick` has it.

        >>> from farpeek_api.client import Plan
        >>> plan = Plan()
        >>> word = plan.read("word", "u16", address)
        >>> with peek.stream() as stream, stream.subscribe_plan(target, plan, hz=50) as ticks:
        ...     next(iter(ticks)).plan["word"]["value"][0]
        256
        """
        options = {
            "target": _id_of(target),
            "hz": hz,
            "mode": mode,
            "changed_only": changed_only,
            "generation": generation,
        }
        return self._subscribe(plan if isinstance(plan, Mapping) else plan.body(), options)

    def _subscribe(
        self, what: Sequence[tuple[int, int]] | Mapping[str, object], options: Mapping[str, object]
    ) -> SubscriptionT:
        raise NotImplementedError


def _id_of(target: Operations | str) -> str:
    return target if isinstance(target, str) else target.id
