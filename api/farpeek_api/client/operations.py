"""A method that is written once, as a call, and is there for both clients.

Of what is `Waiting` it gives its result; of what is `Awaiting`, an awaitable of it.
"""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from farpeek_api.client.drivers import AsyncDriver, Driver
    from farpeek_api.client.steps import Call, Flow

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class Waiting:
    """Has a driver that waits."""

    _driver: Driver


class Awaiting:
    """Has a driver that awaits."""

    _driver: AsyncDriver


class operation(Generic[S, P, T]):  # noqa: N801 - a decorator
    """Makes a method of a call."""

    def __init__(self, call: Callable[Concatenate[S, P], Call[T]]) -> None:
        self._call = call
        self.__doc__ = call.__doc__
        self.__name__ = call.__name__
        self.__module__ = call.__module__

    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...
    @overload
    def __get__(self, instance: Waiting, owner: object) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: object) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, instance: Any, owner: object) -> Any:
        if instance is None:
            return self
        call = self._call

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - the overloads say it
            return instance._driver.run(call(instance, *args, **kwargs))  # noqa: SLF001

        return update_wrapper(method, call)


class flow(Generic[S, P, T]):  # noqa: N801 - a decorator
    """Makes a method of a flow: what it gives is iterated over."""

    def __init__(self, items: Callable[Concatenate[S, P], Flow[T]]) -> None:
        self._items = items
        self.__doc__ = items.__doc__
        self.__name__ = items.__name__
        self.__module__ = items.__module__

    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...
    @overload
    def __get__(
        self, instance: Waiting, owner: object
    ) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(
        self, instance: Awaiting, owner: object
    ) -> Callable[P, AsyncGenerator[T, None]]: ...

    def __get__(self, instance: Any, owner: object) -> Any:
        if instance is None:
            return self
        items = self._items

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - the overloads say it
            return instance._driver.iterate(items(instance, *args, **kwargs))  # noqa: SLF001

        return update_wrapper(method, items)
