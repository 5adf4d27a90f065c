"""Which hidden states are kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from latentext.spec.base import DType, Frozen, one_or_many

Positions = Literal["generated", "prompt", "all", "first", "last", "text"]
Pool = Literal["none", "last", "mean", "max", "first", "entropy_mean"]


class StatesSpec(Frozen):
    """Which hidden states are kept, by the definitions in docs/architecture.md.

    `sites` are names (`embed`, `resid_post.3`, `final_norm`), Hugging Face hidden_states indices (negative ones count
    back from the last), or ``all``. With `pool` other than ``none`` one row a text is kept for each pooling.
    """

    sites: Annotated[tuple[str | int, ...], BeforeValidator(one_or_many), Field(min_length=1)] = Field(
        default=("final_norm",),
        description="Site names (`embed`, `resid_post.3`, `final_norm`), Hugging Face layer numbers, or `all`.",
    )
    positions: Positions = Field(
        default="generated",
        description="Which token positions are kept: generated, prompt, all, first, last, or text (given texts).",
    )
    pool: Annotated[tuple[Pool, ...], BeforeValidator(one_or_many), Field(min_length=1)] = Field(
        default=("none",),
        description="Keep one row per text (last, mean, max, first, entropy_mean), or every row (none).",
    )
    dtype: Literal["model"] | DType = Field(
        default="model", description="Floating-point type in the files; `model` keeps the model's own."
    )
    how: Literal["auto", "inflight", "replay"] = Field(
        default="auto",
        description="Keep states while texts are written (inflight), compute them later (replay), or either (auto).",
    )

    @model_validator(mode="after")
    def _rows_or_pools(self) -> Self:
        if "none" in self.pool and len(self.pool) > 1:
            raise ValueError("pool: none keeps every row and cannot stand beside poolings; make two captures")
        if self.pool != ("none",) and self.positions != "generated":
            raise ValueError(
                f"pooling works on answers only, not on positions: {self.positions}; leave out positions or pool"
            )
        return self
