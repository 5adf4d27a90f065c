"""Which texts count: judged by what they say, or by how long they are."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from latentext.spec.base import Frozen

Keep = Literal["all", "accepted", "exact"]


class RepetitionCheck(Frozen):
    """The variables that hold the word to repeat and how often."""

    word: str = Field(default="word", description="Variable with the word to repeat.")
    count: str = Field(default="count", description="Variable with the number of repetitions.")


class CheckSpec(Frozen):
    """Whether a text does what was asked, judged text by text and kept with the scores.

    Of a repetition, `accepted` is a text that is nothing but the word, and `exact` one that has it as often as asked
    (see `latentext.rewards.repetition`). `keep` is what splits and exports take; what they leave out stays in the
    dataset.
    """

    repetition: RepetitionCheck = Field(description="Variables of the task `repeat a word`.")
    keep: Keep = Field(default="all", description="Which texts splits and exports take.")


class LengthSpec(Frozen):
    """How long texts should be, in words as spaCy's blank English tokenizer cuts them (extra `complete`).

    `min` and `max` are legal lengths, both included; left out, those of the corpus. The limits hold by `policy`:
    ``tokens`` sets `decoding.min_new_tokens` and `max_new_tokens` to them, converted by the number of tokens a word
    that the model's tokenizer gives the human texts; ``retry`` draws samples 0, 1, 2, … of a request until one has a
    legal length and was not cut, at most `decoding.n` (30 unless it is given); ``sentence`` sets the limits of tokens,
    and takes of a text that was cut the full sentences; ``none`` only counts. A limit that `decoding` gives stays.

    `human` is the variable that holds a person's text. `tokens_per_word` is measured when a run starts, and recorded.
    """

    policy: Literal["tokens", "retry", "sentence", "none"] = Field(
        default="tokens",
        description="How the limits are kept: tokens, retry (draw again), sentence (cut there), none (only count).",
    )
    min: int | None = Field(default=None, ge=0, description="Fewest words of a text; the corpus's own if left out.")
    max: int | None = Field(default=None, ge=1, description="Most words of a text; the corpus's own if left out.")
    human: str = Field(default="human_completions", description="Variable with the human text.")
    tokens_per_word: float | None = Field(
        default=None, ge=0.001, le=1e6, description="Tokens per word; measured when the run starts if left out."
    )

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self
