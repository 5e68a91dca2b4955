"""JSON schemas of the models, as components that refer to one another."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import get_original_bases, is_typeddict

from farpeek_api.http.problem_shapes import COMPONENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

    Schema = dict[str, Any]

PLACE: Final = "#/components/schemas/"


def ref(name: str) -> Schema:
    """Refer to a component."""
    return {"$ref": PLACE + name}


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schema of each type that was asked for, and the components that they refer to."""

    of: Mapping[Any, Schema]
    components: dict[str, Schema]

    def members(self, model: type) -> tuple[Mapping[str, Schema], frozenset[str]]:
        """What the members of an object are, and which of them it has always."""
        shown = self.components[model.__name__]
        return shown.get("properties", {}), frozenset(shown.get("required", ()))


def schemas(types: Iterable[Any]) -> Schemas:
    """Make the schemas of types: pydantic's models, typed dictionaries, and unions of them."""
    wanted = list(dict.fromkeys(types))
    made, definitions = TypeAdapter.json_schemas(
        [(number, "validation", TypeAdapter(each)) for number, each in enumerate(wanted)],
        schema_generator=_Generator,
        ref_template=PLACE + "{model}",
    )
    of = {each: _tidy(made[number, "validation"]) for number, each in enumerate(wanted)}
    found = definitions.get("$defs", {})
    return Schemas(of, {name: _tidy(schema) for name, schema in found.items()})


class _Generator(GenerateJsonSchema):
    """Takes descriptions from the texts below members; members and types need no titles."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """See the class."""
        del schema
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Describe a request."""
        return _describe(super().model_schema(schema), schema["cls"])

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        """Describe an answer."""
        return _describe(super().typed_dict_schema(schema), schema.get("cls", dict))

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        """Describe words."""
        shown = super().enum_schema(schema)
        shown.pop("title", None)
        return shown


def _describe(shown: JsonSchemaValue, kind: type) -> JsonSchemaValue:
    shown.pop("title", None)
    texts = _texts(kind)
    for name, schema in shown.get("properties", {}).items():
        if name in texts:
            schema["description"] = texts[name]
    return shown


def _texts(kind: type) -> dict[str, str]:
    """Find the texts below the members of a class and of those it comes from, by their names."""
    found: dict[str, str] = {}
    for base in get_original_bases(kind) if is_typeddict(kind) else kind.__bases__:
        if isinstance(base, type) and base is not object:
            found |= _texts(base)
    if kind.__module__.startswith("farpeek"):
        found |= _own_texts(kind)
    return found


def _own_texts(kind: type) -> dict[str, str]:
    shown = _classes(kind.__module__)[kind.__name__]
    fields = getattr(kind, "model_fields", {})
    found: dict[str, str] = {}
    for member, text in pairwise(shown.body):
        match member, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str(said))
            ):
                alias = fields[name].alias if name in fields else None
                found[alias or name] = inspect.cleandoc(said)
            case _:
                pass
    return found


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    shown = ast.parse(inspect.getsource(sys.modules[module]))
    return {each.name: each for each in shown.body if isinstance(each, ast.ClassDef)}


def _tidy(schema: Schema) -> Schema:
    """Write it as OpenAPI has it; texts are Markdown."""
    shown = {name: _tidy_member(name, each) for name, each in schema.items()}
    component = shown.pop(COMPONENT, None)
    return shown if component is None else {**shown, **ref(component)}


def _tidy_member(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    match name, value:
        case "description", str(text):
            return text.replace("``", "`").replace("\n", " ")
        case _, dict():
            return _tidy(cast("Schema", value))
        case _, list():
            return [_tidy_member("", each) for each in cast("Sequence[Any]", value)]
        case _:
            return value
