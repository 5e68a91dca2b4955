"""What makes no sense in a plan is said at once, with the step and the member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.errors import InvalidRequest, TooLarge
from farpeek.plans.gathering import content_of
from farpeek.plans.model import Array, Bytes, Chain, Layout, LinkedList, One, Place
from farpeek.plans.scalars import POINTERS, UNSIGNED, Machine
from farpeek.plans.scopes import has_one_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.plans.model import PlanSpec, Step

DEEPEST: Final = 4
"""Levels of steps; the outermost is the first."""

MOST_STEPS: Final = 64
LARGEST_TYPE: Final = 64 << 10

Path = tuple[str | int, ...]


def check(plan: PlanSpec, machine: Machine, most_bytes: int) -> None:
    """Raise InvalidRequest, or TooLarge for bytes at one place that no answer may carry."""
    _Checker(machine, most_bytes).steps(plan.steps, ("steps",), (_Level(None),))


class _Level:
    """One level of steps around another: the step whose rows they are for, and those before."""

    def __init__(self, outer: Step | None) -> None:
        self.outer = outer
        self.before: dict[str, Step] = {}


class _Checker:
    def __init__(self, machine: Machine, most_bytes: int) -> None:
        self._machine = machine
        self._most_bytes = most_bytes
        self._known: set[str] = set()

    def steps(self, steps: Sequence[Step], path: Path, levels: tuple[_Level, ...]) -> None:
        """Check the steps of one level, and what is below them."""
        level = levels[-1]
        for number, step in enumerate(steps):
            here = (*path, number)
            self._step(step, here, levels)
            level.before[step.id] = step
            if step.each:
                if len(levels) == DEEPEST:
                    raise InvalidRequest(
                        f"steps go {DEEPEST} levels deep at most: take a step out, and name its "
                        "rows with a plan of its own",
                        (*here, "each"),
                    )
                self.steps(step.each, (*here, "each"), (*levels, _Level(step)))

    def _step(self, step: Step, path: Path, levels: tuple[_Level, ...]) -> None:
        if step.id in self._known:
            raise InvalidRequest(f"two steps are called {step.id!r}: rename one", (*path, "id"))
        self._known.add(step.id)
        if len(self._known) > MOST_STEPS:
            raise InvalidRequest(f"a plan has {MOST_STEPS} steps at most", path)
        outer = levels[-1].outer
        member = "chain" if isinstance(step, Chain) else "at"
        self._place(step.at, (*path, member), levels)
        if step.when is not None:
            self._field_of_outer(step.when[0], outer, (*path, "when", "field"))
        match step:
            case LinkedList():
                self._field(step.layout, step.next, (*path, "next"), POINTERS + UNSIGNED)
                if step.until is not None:
                    self._place(step.until, (*path, "until"), levels)
            case Array():
                self._count(step.count, outer, (*path, "count"))
            case One() | Chain() if isinstance(step.content, Bytes):
                self._count(step.content.count, outer, (*path, "bytes"))
                if step.content.most > self._most_bytes:
                    raise TooLarge(
                        f"{step.content.most} bytes at one place; one answer may carry "
                        f"{self._most_bytes} (--max-request-bytes)"
                    )
            case _:
                pass
        content = content_of(step)
        if isinstance(content, Layout):
            self._layout(content, path)

    def _layout(self, layout: Layout, path: Path) -> None:
        for name, field in layout.fields.items():
            end = field.offset + self._machine.size(field.kind)
            if layout.size and end > layout.size:
                raise InvalidRequest(
                    f"field {name!r} ends at byte {end} of a type of {layout.size}: mend its "
                    "offset, or the size of the type",
                    path,
                )

    def _place(self, place: Place, path: Path, levels: tuple[_Level, ...]) -> None:
        if place.number is not None:
            return
        if place.step is None:
            assert place.field is not None  # noqa: S101 - `$.` has a name behind it
            self._field_of_outer(place.field, levels[-1].outer, path)
            return
        named = _named(place.step, levels)
        if named is None:
            raise InvalidRequest(
                f"${place.step} is no step before this one, nor around it: name one that is", path
            )
        around = any(level.outer is named for level in levels)
        if not around and not has_one_row(named):
            raise InvalidRequest(
                f"${place.step} has many rows: put this step into its `each`", path
            )
        if place.field is not None:
            self._field(content_of(named), place.field, path, POINTERS + UNSIGNED)

    def _count(self, count: int | str, outer: Step | None, path: Path) -> None:
        if isinstance(count, str):
            self._field_of_outer(count, outer, path)

    def _field_of_outer(self, name: str, outer: Step | None, path: Path) -> None:
        if outer is None:
            raise InvalidRequest(
                f"{name!r} would be a field of the row one level out, and there is none here", path
            )
        self._field(content_of(outer), name, path, ())

    def _field(self, content: object, name: str, path: Path, kinds: Sequence[str]) -> None:
        """Check that there is such a field, of such a kind; with no ``kinds``, of any integer."""
        if not isinstance(content, Layout) or name not in content.fields:
            known = ", ".join(content.fields) if isinstance(content, Layout) else ""
            hint = f"it has {known}" if known else "it has none"
            raise InvalidRequest(f"there is no field {name!r} there: {hint}", path)
        kind = content.fields[name].kind
        if kind.startswith("f") or (kinds and kind not in kinds):
            wanted = "an unsigned number or a pointer" if kinds else "a whole number"
            raise InvalidRequest(f"field {name!r} is {kind}, and has to be {wanted}", path)


def _named(name: str, levels: tuple[_Level, ...]) -> Step | None:
    for level in reversed(levels):
        if name in level.before:
            return level.before[name]
        if level.outer is not None and level.outer.id == name:
            return level.outer
    return None
