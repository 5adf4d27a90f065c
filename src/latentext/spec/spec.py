"""One run, whole."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from latentext.spec.acceptance import CheckSpec, LengthSpec
from latentext.spec.base import Frozen
from latentext.spec.decoding import Decoding
from latentext.spec.model import ModelSpec
from latentext.spec.prompts import TWINS, PromptSpec
from latentext.spec.states import StatesSpec


class SplitSpec(Frozen):
    """How texts are divided on reading; `by` names the group that stays whole (prompt, template, index or a
    variable)."""

    by: str = "prompt"
    val: float = Field(default=0.1, ge=0.0, lt=1.0)
    test: float = Field(default=0.0, ge=0.0, lt=1.0)
    seed: int = 0


class Spec(Frozen):
    """One run. All of it is in the file ``spec.yaml`` of the dataset directory that it makes.

    Example:
        >>> spec = Spec(prompts={"template": "Say {word}.", "grid": {"word": ["yes", "no"]}})
        >>> spec.model.name, spec.decoding.max_new_tokens
        ('tiny', 200)
    """

    name: str = "dataset"
    description: str = ""
    seed: int = 0
    model: Annotated[ModelSpec, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)] = ModelSpec()
    prompts: PromptSpec
    decoding: Decoding = Decoding()
    states: StatesSpec | None = None
    rewards: tuple[str | dict[str, Any], ...] = ()
    check: CheckSpec | None = None
    length: LengthSpec | None = None
    split: SplitSpec = SplitSpec()
    shard_size: int | None = Field(
        default=None,
        ge=1,
        description="Requests that are kept together; it may change until the first of them are finished.",
    )
    output: str | None = None

    @property
    def retries(self) -> bool:
        """Whether samples of a request are drawn until one has a legal length."""
        return self.length is not None and self.length.policy == "retry"

    @model_validator(mode="after")
    def _one_verdict(self) -> Self:
        if self.retries and self.check is not None:
            raise ValueError("length.policy: retry and check both say what is accepted; leave one out")
        return self

    @model_validator(mode="after")
    def _check_has_its_variables(self) -> Self:
        if self.check is not None and self.prompts.grid is not None:
            known = (*self.prompts.grid, *self.prompts.columns)
            for name in (self.check.repetition.word, self.check.repetition.count):
                if name not in known:
                    raise ValueError(f"check.repetition needs {name!r}; the grid has {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _given_texts_are_only_read(self) -> Self:
        if not self.decoding.given:
            return self
        if self.rewards or self.check is not None:
            raise ValueError("decoding.max_new_tokens: 0 writes no texts that rewards or a check could judge")
        states = self.states
        if states is not None and (states.positions not in ("text", "prompt", "all") or states.pool != ("none",)):
            pooled = " and leave out pool, which works on answers only" if states.pool != ("none",) else ""
            raise ValueError(
                "decoding.max_new_tokens: 0 writes no answers; give states.positions: text (all tokens of the prompt)"
                + pooled
            )
        return self

    @model_validator(mode="after")
    def _twins_share_a_shard(self) -> Self:
        if self.prompts.pairs is not None and self.shard_size is not None and self.shard_size % len(TWINS):
            raise ValueError(f"shard_size {self.shard_size} would cut a pair in two; give an even number")
        return self
