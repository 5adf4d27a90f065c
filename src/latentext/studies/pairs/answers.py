"""Whether the answers of a task are one token in their place.

The single-token form is made to be answered by one token after its last character. Many suffixes end with a space
("Answer: "), and most tokenizers write a word together with the space before it, so after such a suffix the answer's
usual token (" Yes") no longer fits. Both ends are looked at, and what is found is said, because it decides which token
to read probabilities of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from latentext.studies.pairs.task import PairTask
from latentext.studies.pairs.tokenizer import PairTokenizer

Finding = Literal["one-token", "several-tokens", "joins-the-prompt"]
"""What an answer does behind the prompt; the last means that the prompt's own last token changes."""


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """One answer behind the single-token form, under one tokenizer.

    Attributes:
        tokenizer: its name.
        answer: as the task gives it.
        trailing_space: whether the prompt ends with a space; without it the space belongs to the answer.
        finding: whether text and answer together are the prompt's ids and exactly one more.
        token_ids: the ids behind what prompt and whole have in common.
    """

    tokenizer: str
    answer: str
    trailing_space: bool
    finding: Finding
    token_ids: tuple[int, ...]


def check_answers(task: PairTask, tokenizers: Sequence[PairTokenizer]) -> Iterator[AnswerCheck]:
    """Every answer of the task behind a prompt with and without a space at its end, under every tokenizer.

    Example:
        >>> from latentext.studies.pairs import load_task, load_tokenizers
        >>> [first, *_] = check_answers(load_task("refusal"), load_tokenizers(["Qwen/Qwen2-7B"]))  # doctest: +SKIP
        >>> first.answer, first.trailing_space, first.finding                                      # doctest: +SKIP
        ('Yes', True, 'joins-the-prompt')
    """
    example = task.example_pairs[0][0] if task.example_pairs else "Hello"
    prompt = task.forms[0].text(example).rstrip(" ")
    for tokenizer in tokenizers:
        for answer in task.answers:
            for trailing_space in (True, False):
                text = f"{prompt} " if trailing_space else prompt
                ids, whole = tokenizer.encode([text, f"{prompt} {answer}"])
                yield _check(tokenizer.name, answer, trailing_space, ids, whole)


def _check(name: str, answer: str, trailing_space: bool, ids: list[int], whole: list[int]) -> AnswerCheck:
    common = next((place for place, (a, b) in enumerate(zip(ids, whole, strict=False)) if a != b), len(ids))
    rest = tuple(whole[common:])
    if common < len(ids):
        finding: Finding = "joins-the-prompt"
    else:
        finding = "one-token" if len(rest) == 1 else "several-tokens"
    return AnswerCheck(name, answer, trailing_space, finding, rest)
