"""How tokens are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from latentext.spec.base import Frozen, one_or_many


def _greedy_or_warm(temperature: float) -> float:
    # Logits over a temperature near the smallest number of all are infinite, and a text of infinities fails.
    if 0.0 < temperature < LOWEST_TEMPERATURE:
        raise ValueError(f"at least {LOWEST_TEMPERATURE}, or 0 for greedy decoding")
    return temperature


LOWEST_TEMPERATURE = 1e-6
Temperature = Annotated[float, Field(ge=0.0, le=1e6), AfterValidator(_greedy_or_warm)]

_NOT_WITH_EXPECT = (
    "temperature",
    "temperatures",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "no_repeat_ngram_size",
    "stop",
    "min_new_tokens",
)


class Decoding(Frozen):
    """How tokens are chosen. ``temperature: 0`` is greedy; filters act in the order temperature, top-k, top-p, min-p.

    `temperatures` asks every prompt at each of several; ``temperature: [1, 1.5, 2]`` says the same. Each makes a
    request of its own, whose variable `temperature` holds it.

    `n` is the number of samples a prompt. ``min_new_tokens == max_new_tokens`` forces the length. With
    ``max_new_tokens: 0`` nothing is written: the prompts are given texts, whose states are read.
    `logprobs` and `entropy` (in nats) are of the model's own distribution, before temperature, filters and penalties.

    `expect` names the variable that holds what the model will probably write, as in "repeat this text". It changes no
    text: greedy decoding then checks the expected tokens in one pass instead of writing them one by one.
    """

    temperature: Temperature = Field(
        default=0.0, description="Sampling temperature; 0 is greedy decoding. A list asks every prompt at each."
    )
    temperatures: tuple[Temperature, ...] = Field(
        default=(), description="Several temperatures; every prompt is asked at each."
    )
    top_k: int | None = Field(
        default=None, ge=1, description="Sample from this many most probable tokens; from all if left out."
    )
    top_p: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="Sample from the most probable tokens that together reach this probability.",
    )
    min_p: float = Field(
        default=0.0, ge=0.0, le=1.0, description="Drop tokens below this share of the largest probability."
    )
    repetition_penalty: float = Field(
        default=1.0,
        ge=1e-6,
        le=1e6,
        description="Divisor of positive logits (factor of negative ones) of tokens that occurred before; 1 is off.",
    )
    presence_penalty: float = Field(
        default=0.0, ge=-1e6, le=1e6, description="Subtracted from the logit of every token that was generated before."
    )
    frequency_penalty: float = Field(
        default=0.0,
        ge=-1e6,
        le=1e6,
        description="Subtracted from a token's logit for each time it was generated before.",
    )
    no_repeat_ngram_size: int = Field(
        default=0, ge=0, description="No sequence of this many tokens occurs twice; 0 is off."
    )
    stop: Annotated[tuple[str, ...], BeforeValidator(one_or_many)] = Field(
        default=(), description="Strings that end a text; they are cut from the text and kept in its token ids."
    )
    min_new_tokens: int = Field(default=0, ge=0, description="Generated tokens before a text may end.")
    max_new_tokens: int = Field(
        default=200, ge=0, description="Most generated tokens per text; 0 generates nothing and only reads the prompts."
    )
    n: int = Field(default=1, ge=1, description="Number of samples per prompt.")
    logprobs: bool = Field(default=False, description="Keep the log-probability of every generated token, in nats.")
    entropy: bool = Field(default=False, description="Keep the entropy of every step's distribution, in nats.")
    expect: str | None = Field(
        default=None,
        description="Variable with the text that the model will probably repeat: faster greedy decoding, same texts.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_temperature_or_several(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and isinstance(several := fields.get("temperature"), list | tuple):
            if fields.get("temperatures"):
                raise ValueError("give temperature or temperatures, not both")
            if not several:
                raise ValueError("temperature is an empty list")
            alone = {"temperature": several[0]} if len(several) == 1 else {"temperatures": tuple(several)}
            return {name: value for name, value in fields.items() if name != "temperature"} | alone
        return fields

    @model_validator(mode="after")
    def _temperatures_differ(self) -> Self:
        if self.temperatures and self.temperature:
            raise ValueError("give temperature or temperatures, not both")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise ValueError("temperatures has one of them twice")
        return self

    def at(self, temperature: float | None) -> Self:
        """These options at one temperature; at their own where it is None.

        Example:
            >>> Decoding(temperatures=(1.0, 2.0)).at(2.0) == Decoding(temperature=2.0)
            True
        """
        if temperature is None:
            return self
        return self.model_copy(update={"temperature": temperature, "temperatures": ()})

    @model_validator(mode="after")
    def _expectation_is_greedy(self) -> Self:
        if self.expect is not None:
            for name in _NOT_WITH_EXPECT:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"expect checks plain greedy decoding and cannot stand beside {name}")
        return self

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens {self.min_new_tokens} is above max_new_tokens {self.max_new_tokens}")
        if any(not s for s in self.stop):
            raise ValueError("stop has an empty string")
        return self

    @property
    def given(self) -> bool:
        """Whether the prompts are given texts and nothing is written."""
        return self.max_new_tokens == 0

    @model_validator(mode="after")
    def _nothing_about_what_is_not_written(self) -> Self:
        for name in ("n", "stop", "expect", "logprobs", "entropy") if self.given else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"max_new_tokens: 0 writes nothing and cannot stand beside {name}")
        return self
