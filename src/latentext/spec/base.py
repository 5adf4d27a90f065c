"""What all parts of a spec share: frozen, and strict about names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Scalar = str | int | float | bool | None
"""A value that a template variable can take."""

DType = Literal["float32", "float16", "bfloat16"]


def one_or_many(value: Any) -> Any:
    """Let ``stop: "\\n"`` stand for ``stop: ["\\n"]``."""
    return [value] if isinstance(value, (str, int)) else value


class Frozen(BaseModel):
    """A value: immutable, strict about names, and without infinity and NaN, which mean nothing in any field."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)
