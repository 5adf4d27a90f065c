"""The two prompt sets of value-aligned sampling, as pure functions of their source texts.

"Anthropic-harmless" are the opening questions of hh-rlhf's harmless-base dialogues (test part); "Imdb" are the first
words of film reviews. Reading files or the hub is the business of prompt sources; here their texts become prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from latentext.request import Failure

HUMAN, ASSISTANT = "Human:", "Assistant:"

SHORTEST_REVIEW = 30
"""Reviews of this many characters or fewer are passed over."""

REVIEWS = 1000
CUT_FROM, CUT_TO = 20, 30


def dialogue_prompt(dialogue: str) -> str | None:
    r"""The text between the first "Human:" and the first "Assistant:", stripped; None when a marker is missing.

    Example:
        >>> dialogue_prompt("\n\nHuman: what is tea?\n\nAssistant: A drink.\n\nHuman: thanks\n\nAssistant: …")
        'what is tea?'
    """
    before, human, after = dialogue.partition(HUMAN)
    question, assistant, _ = after.partition(ASSISTANT)
    if not human or not assistant or ASSISTANT in before:
        return None
    return question.strip()


def dialogue_prompts(dialogues: Iterable[str]) -> Iterator[str | Failure]:
    """The prompt of each dialogue in turn, or, where a marker is missing, the Failure to record in its place.

    Example:
        >>> [type(found).__name__ for found in dialogue_prompts(["Human: a Assistant: b", "Human: a"])]
        ['str', 'Failure']
    """
    for index, dialogue in enumerate(dialogues):
        prompt = dialogue_prompt(dialogue)
        if prompt is None:
            message = f"dialogue {index} has no {HUMAN!r} followed by {ASSISTANT!r}; it is skipped"
            yield Failure(index=index, sample=0, reason="no-prompt-marker", message=message)
        else:
            yield prompt


def review_prompts(reviews: Iterable[str], *, seed: int = 0, limit: int | None = REVIEWS) -> Iterator[str]:
    """The beginnings of the first `limit` reviews of more than 30 characters: 20 to 30 of them, back to a word's end.

    A review's length is hashed from the seed and its number, so it depends neither on the other reviews nor on where a
    shard begins.

    Example:
        >>> list(review_prompts(["Too short.", "An absolutely wonderful film, from the first minute to the last."]))
        ['An absolutely wonderful']
    """
    number = 0
    for review in reviews:
        if limit is not None and number >= limit:
            return
        if len(review) > SHORTEST_REVIEW:
            yield cut_at_word(review, _cut_length(seed, number))
            number += 1


def cut_at_word(text: str, length: int) -> str:
    """The longest beginning of whole words within `length` characters; a first word longer than that is cut.

    Example:
        >>> cut_at_word("one two three", 7), cut_at_word("one two three", 6), cut_at_word("unbreakable", 4)
        ('one two', 'one', 'unbr')
    """
    if len(text) <= length:
        return text
    end = text.rfind(" ", 0, length + 1)
    return text[:end] if end > 0 else text[:length]


def _cut_length(seed: int, number: int) -> int:
    digest = hashlib.blake2b(f"{seed}\0{number}".encode(), digest_size=8).digest()
    return CUT_FROM + int.from_bytes(digest, "big") % (CUT_TO - CUT_FROM + 1)
