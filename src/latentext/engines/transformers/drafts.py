"""What a text will probably say next, and what becomes of that guess when the model says something else.

A request that says "repeat this" tells what will come, so the tokens need not be made one by one: they can be checked
all at once, against the model's own choices. Everything here is about which tokens to propose next; a wrong proposal
costs a pass of the model and never changes a text, since only the model's own choices are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from latentext.engines.transformers.decode import DecodeTask, TextInFlight
from latentext.request import Verification

_WINDOW = 16
"""How far from the expected place the text is looked for after a miss, in tokens."""
_LONGEST_MATCH = 4
_FREE_MISSES = 1
_TOKENS_PER_MISS = 32
"""Beside the free ones, one miss in so many tokens is worth another pass; below that, decoding costs less."""


@dataclass(frozen=True)
class ExpectedText:
    """A text that is probably written next; token i begins at character `starts[i]` (empty where that is unknown)."""

    text: str
    token_ids: Sequence[int]
    starts: Sequence[int] = ()


@dataclass(slots=True)
class Draft:
    """A text being checked: what is written, and what is expected next (`candidates`, from `place` on)."""

    task: DecodeTask
    expected: ExpectedText
    candidates: list[int]
    place: int = 0
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    finish_reason: str = ""
    problem: str = ""
    passes: int = 0
    misses: int = 0
    ties: int = 0

    @property
    def tokens_to_read(self) -> list[int]:
        """Prompt, text so far and candidates: of these, what the last token needs before it."""
        prompt = self.task.request.prompt_token_ids
        return [*prompt, *self.token_ids, *self.candidates][: len(prompt) + self.task.max_new_tokens - 1]

    def text(self, decoded: int = 0) -> TextInFlight:
        """The finished text as the decode loop gives it."""
        verification = Verification(self.passes, self.misses, self.ties, decoded)
        return TextInFlight(
            self.task,
            slot=-1,
            row_start=-1,
            token_ids=self.token_ids,
            logprobs=self.logprobs,
            entropies=self.entropies,
            finish_reason=self.finish_reason,
            problem=self.problem,
            verification=verification,
        )


def expected_texts(tokenizer: Any, texts: Sequence[str]) -> list[ExpectedText]:
    """Tokenize expected texts; white space around them is left out, as chat templates do with what they are given."""
    stripped = [text.strip() for text in texts]
    fast = bool(tokenizer.is_fast)
    encoded = tokenizer(stripped, add_special_tokens=False, return_offsets_mapping=fast, verbose=False)
    offsets = encoded["offset_mapping"] if fast else [[]] * len(stripped)
    return [
        ExpectedText(text, token_ids, [start for start, _ in spans])
        for text, token_ids, spans in zip(stripped, encoded["input_ids"], offsets, strict=True)
    ]


def worth_another_pass(tokens: int, misses: int) -> bool:
    """Whether checking on is likely to cost less than decoding, after `misses` in the first `tokens` tokens.

    Example:
        >>> worth_another_pass(3, 1), worth_another_pass(3, 2), worth_another_pass(100, 4)
        (True, False, True)
    """
    return misses <= _FREE_MISSES + tokens // _TOKENS_PER_MISS


def continuation(expected: ExpectedText, written: Sequence[int], place: int, tokenizer: Any) -> tuple[list[int], int]:
    """What to expect after a miss, and its place among the expected tokens.

    If the text so far says the same in other tokens, the rest follows from where it stopped. Otherwise the model is
    taken to have replaced one token, until the last tokens written stand elsewhere near `place`: then words were left
    out or put in.

    Args:
        written: all tokens of the text so far; the last is the one that was not expected.
        place: of the expected token that the last one stands for.

    Example:
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> expected = ExpectedText("", [10, 11, 12, 13, 14, 15])
        >>> continuation(expected, [10, 11, 99], 2, load_tokenizer("tiny"))          # 12 was replaced
        ([13, 14, 15], 3)
        >>> continuation(expected, [10, 11, 13, 14], 3, load_tokenizer("tiny"))      # 12 was left out before 13, 14
        ([15], 5)
    """
    if (spelled := _spelled(expected, written, tokenizer)) is not None:
        return spelled
    # What was written before the last token says how well the two went together until now.
    best, best_length = place + 1, max(1, _match(expected.token_ids, place, written[:-1]))
    for distance in range(1, _WINDOW + 1):
        for there in (place + 1 + distance, place + 1 - distance):
            length = _match(expected.token_ids, there, written)
            if length > best_length:  # One token may stand anywhere by chance; two in a row seldom do.
                best, best_length = there, length
    return list(expected.token_ids[best:]), best


def _match(expected: Sequence[int], there: int, written: Sequence[int]) -> int:
    """How many of the last tokens written are those expected just before `there`."""
    length = 0
    if there > len(expected):
        return 0
    while length < min(_LONGEST_MATCH, there, len(written)) and expected[there - 1 - length] == written[-1 - length]:
        length += 1
    return length


def _spelled(expected: ExpectedText, written: Sequence[int], tokenizer: Any) -> tuple[list[int], int] | None:
    """The rest of the expected text, if what is written begins it letter by letter."""
    spelled = tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if not expected.starts or not expected.text.startswith(spelled):
        return None
    place = next((i for i, start in enumerate(expected.starts) if start >= len(spelled)), len(expected.starts))
    rest = list(expected.token_ids[place:])
    until = expected.starts[place] if place < len(expected.starts) else len(expected.text)
    within = expected.text[len(spelled) : until]
    if within:  # The text stopped inside an expected token, whose end is left to say.
        rest = [*tokenizer(within, add_special_tokens=False, verbose=False)["input_ids"], *rest]
        place -= len(rest) - (len(expected.token_ids) - place)
    return rest, place
