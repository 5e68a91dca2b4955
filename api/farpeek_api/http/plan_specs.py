"""What the request for a plan says, as the service has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farpeek.errors import InvalidRequest
from farpeek.plans.model import (
    Array,
    Bytes,
    Chain,
    Layout,
    LinkedList,
    One,
    Place,
    PlanSpec,
    Text,
)
from farpeek.plans.model import Field as PlanField
from farpeek.plans.model import Step as PlanStep
from farpeek.plans.scalars import KINDS, POINTERS, UNSIGNED
from farpeek_api.http.plan_bodies import (
    PLACE,
    ArrayStep,
    BytesStep,
    ChainStep,
    FieldOptions,
    ListStep,
    Plan,
    ReadStep,
    StepBody,
    StepOptions,
    TextStep,
    Then,
    TypeBody,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek.model import Mode


def spec_of(plan: Plan, mode: Mode, generation: int | None) -> PlanSpec:
    """Cross over to the service's value; InvalidRequest names the step and the member."""
    layouts = {name: _layout(body, ("types", name)) for name, body in plan.types.items()}
    crossing = _Crossing(layouts)
    steps = crossing.steps(plan.steps, ("steps",))
    return PlanSpec(steps, mode, plan.limits.limits(), generation)


def _layout(body: TypeBody, path: tuple[str, ...]) -> Layout:
    fields: dict[str, PlanField] = {}
    for name, (offset, kind, *rest) in body.fields.items():
        options = rest[0] if rest else FieldOptions()
        assert isinstance(options, FieldOptions)  # noqa: S101 - tells the type checkers
        _check_options(str(kind), options, (*path, "fields", name))
        fields[name] = PlanField(
            offset, str(kind), options.bits, options.mask, options.shift, options.base
        )
    return Layout(body.size, fields)


def _check_options(kind: str, options: FieldOptions, path: tuple[str, ...]) -> None:
    of_pointers = options.mask is not None or options.shift or options.base
    if of_pointers and kind not in POINTERS:
        raise InvalidRequest(f"`mask`, `shift` and `base` are for pointers, not for {kind}", path)
    if options.bits is not None and kind not in UNSIGNED:
        raise InvalidRequest(f"`bits` are for {', '.join(UNSIGNED)}, not for {kind}", path)


class _Crossing:
    """Makes steps of what a request says."""

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        self._layouts = layouts

    def steps(self, bodies: list[StepBody], path: tuple[str | int, ...]) -> tuple[PlanStep, ...]:
        """Those of one level."""
        return tuple(self._step(each, (*path, number)) for number, each in enumerate(bodies))

    def _step(self, body: StepOptions, path: tuple[str | int, ...]) -> PlanStep:
        common: dict[str, Any] = {
            "id": body.id,
            "when": None if body.when is None else (body.when.field, body.when.equals),
            "each": self.steps(body.each or [], (*path, "each")),
        }
        match body:
            case ReadStep():
                return One(
                    at=_place(body.at),
                    content=self._layout(body.read, (*path, "read")),
                    skip=body.skip,
                    readings=body.consistent or 0,
                    **common,
                )
            case TextStep():
                return One(at=_place(body.at), content=Text(body.cstring), skip=body.skip, **common)
            case BytesStep():
                content = _bytes(body.bytes, body.max, path)
                return One(at=_place(body.at), content=content, skip=body.skip, **common)
            case ChainStep():
                return Chain(
                    at=_place(body.chain),
                    offsets=body.offsets,
                    content=None if body.then is None else self._then(body.then, path),
                    skip=0 if body.then is None else body.then.skip,
                    **common,
                )
            case ListStep():
                return LinkedList(
                    at=_place(body.at),
                    layout=self._layout(body.list, (*path, "list")),
                    next=body.next,
                    most=body.max,
                    until=None if body.until is None else _place(body.until),
                    readings=body.consistent or 0,
                    **common,
                )
            case ArrayStep():
                layout = self._layout(body.array, (*path, "array"))
                return Array(
                    at=_place(body.at),
                    layout=layout,
                    count=body.count,
                    most=body.max,
                    stride=body.stride or 0,
                    readings=body.consistent or 0,
                    **common,
                )
            case _:
                raise TypeError(body)

    def _then(self, body: Then, path: tuple[str | int, ...]) -> Layout | Text | Bytes:
        if body.read is not None:
            return self._layout(body.read, (*path, "then", "read"))
        if body.cstring is not None:
            return Text(body.cstring)
        assert body.bytes is not None  # noqa: S101 - the model has checked it
        return _bytes(body.bytes, body.max, (*path, "then"))

    def _layout(self, name: str, path: tuple[str | int, ...]) -> Layout:
        if name in self._layouts:
            return self._layouts[name]
        if name not in KINDS:
            raise InvalidRequest(f"there is no type {name!r}: define it in `types`", path)
        return Layout(0, {"value": PlanField(0, name)})


def _bytes(count: int | str, most: int | None, path: tuple[str | int, ...]) -> Bytes:
    if most is None:
        if isinstance(count, str):
            raise InvalidRequest("where a field says how many, say `max`, too", (*path, "max"))
        most = count
    return Bytes(count, most)


def _place(text: int | str) -> Place:
    if isinstance(text, int):
        return Place(number=text)
    found = PLACE.fullmatch(text)
    if found is None:
        return Place(number=int(text, 16))
    return Place(step=found["step"], field=found["field"])
