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

    by: str = Field(
        default="prompt",
        description="What is never divided between splits: prompt, template, index, or the name of a variable.",
    )
    val: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="Share of groups in the split `val`, from 0 to below 1."
    )
    test: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="Share of groups in the split `test`, from 0 to below 1."
    )
    seed: int = Field(default=0, description="Random seed of the division.")


class Spec(Frozen):
    """One run. All of it is in the file ``spec.yaml`` of the dataset directory that it makes.

    Example:
        >>> spec = Spec(prompts={"template": "Say {word}.", "grid": {"word": ["yes", "no"]}})
        >>> spec.model.name, spec.decoding.max_new_tokens
        ('tiny', 200)
    """

    name: str = Field(default="dataset", description="Name of the dataset; the default directory is `data/<name>`.")
    description: str = Field(default="", description="Free text for the dataset card.")
    seed: int = Field(default=0, description="Random seed of all draws.")
    model: Annotated[ModelSpec, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)] = Field(
        default=ModelSpec(), description="Model that writes the texts; a name alone is enough."
    )
    prompts: PromptSpec = Field(description="Where prompts come from and how they are worded.")
    decoding: Decoding = Field(default=Decoding(), description="How tokens are chosen, and how many.")
    states: StatesSpec | None = Field(default=None, description="Which hidden states are kept; none by default.")
    rewards: tuple[str | dict[str, Any], ...] = Field(
        default=(), description="Scores of every text: names, functions or mappings."
    )
    check: CheckSpec | None = Field(
        default=None, description="Check of every text; its verdict is stored with the scores."
    )
    length: LengthSpec | None = Field(default=None, description="How many words a text should have.")
    split: SplitSpec = Field(default=SplitSpec(), description="How readers divide the texts into train, val and test.")
    shard_size: int | None = Field(
        default=None,
        ge=1,
        description="Requests that are kept together; it may change until the first of them are finished.",
    )
    output: str | None = Field(default=None, description="Directory of the dataset; `data/<name>` if left out.")

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
