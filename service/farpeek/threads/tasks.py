"""What is done in a thread, as a value: lanes give it a place, and a pool a thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")


class Slot:
    """A thread that a lane has, or will have; given back when all tasks in it have come back."""

    __slots__ = ("overdue", "tasks", "turn")

    def __init__(self, turn: int) -> None:
        self.tasks = 0
        self.overdue = False  # the time of a task in it is over
        self.turn = turn  # in which tasks may still come in; -1: none may


class Task(Generic[T]):
    """Work, and two callbacks on the loop; both must not raise.

    ``on_done`` is called once with a value or an error: when the thread is done, when the time is
    over (``deadline``, of time.monotonic), or when the lane fails; never once it is forgotten.
    ``returned`` is called once the thread is done with it, however late, behind ``on_done``; at
    once if it never began.
    """

    __slots__ = (
        "abandoned",
        "began",
        "deadline",
        "hung",
        "latest",
        "light",
        "moved",
        "on_done",
        "owner",
        "returned",
        "slot",
        "unproven",
        "work",
    )

    def __init__(
        self,
        work: Callable[[], T],
        deadline: float,
        on_done: Callable[[T | None, BaseException | None], None],
        returned: Callable[[], None],
        *,
        light: bool = False,
        latest: float = 0.0,
    ) -> None:
        """``light``: it takes microseconds, unless it hangs.

        ``latest`` (of time.monotonic): past its deadline it has time until then where nothing
        hangs, and others only need the processor.
        """
        self.work = work
        self.deadline = deadline
        self.on_done: Callable[[T | None, BaseException | None], None] | None = on_done
        self.returned = returned
        self.light = light
        self.latest = latest
        # What lane, pool and thread note on it.
        self.began = time.monotonic()  # in its line; by its thread again when that begins with it
        self.moved = 0.0  # when its thread went on within it last
        self.owner: Owner
        self.slot: Slot | None = None  # None in line, and once it is over
        self.unproven = False  # whether its target answers is not known
        self.hung = False  # its thread was found stuck
        self.abandoned = False  # nobody waits any more: not worth beginning

    def forget(self) -> None:
        """Nobody waits for it any more: nothing is told."""
        self.owner.forget(self)

    def tell(self, value: T | None, error: BaseException | None) -> None:
        """Say what came of it, unless that was said before."""
        on_done, self.on_done = self.on_done, None
        if on_done is not None:
            on_done(value, error)


class Owner(Protocol):
    """Whose tasks a pool does; told on the loop."""

    def finish(self, task: Task[Any], value: object, error: BaseException | None) -> None:
        """Its thread has returned, with a value or an error."""
        ...

    def put_back(self, task: Task[Any]) -> None:
        """Its turn has not come, and its thread hangs in a task of the same slot."""
        ...

    def slow(self, task: Task[Any]) -> None:
        """Its thread has been at it for longer than light work takes, and still is, maybe."""
        ...

    def expire(self, task: Task[Any]) -> None:
        """Its time is over."""
        ...

    def forget(self, task: Task[Any]) -> None:
        """Nobody waits for it any more."""
        ...


def settle(future: asyncio.Future[T]) -> Callable[[T | None, BaseException | None], None]:
    """Give what a task is to call for ``future`` to be done."""

    def on_done(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type] # no error, so it is a T

    return on_done
