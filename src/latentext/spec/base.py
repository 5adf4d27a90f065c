"""What all parts of a spec share: frozen, strict about names, and described field by field."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Scalar = str | int | float | bool | None
"""A value that a template variable can take."""

DType = Literal["float32", "float16", "bfloat16"]

_FIELDS = "Fields:"


def one_or_many(value: Any) -> Any:
    """Let ``stop: "\\n"`` stand for ``stop: ["\\n"]``."""
    return [value] if isinstance(value, (str, int)) else value


class Frozen(BaseModel):
    """A value: immutable, strict about names, and without infinity and NaN, which mean nothing in any field."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Let ``help`` of a part of a spec show what each field is for."""
        lines = [f"    {name}: {field.description}" for name, field in cls.model_fields.items() if field.description]
        if lines:
            cls.__doc__ = "\n".join([cleandoc(cls.__doc__ or cls.__name__), "", _FIELDS, *lines])

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema without the list of fields in its description: every field has its own."""
        made = handler(schema)
        plain = handler.resolve_ref_schema(made)
        if "description" in plain:
            plain["description"] = plain["description"].partition(f"\n{_FIELDS}\n")[0].strip()
        return made
