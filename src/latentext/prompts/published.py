"""The two prompt sets of value-aligned sampling, as pure functions of their source texts.

"Anthropic-harmless" are the opening questions of hh-rlhf's harmless-base dialogues (test part); "Imdb" are the first
words of film reviews. Where their texts are read is the business of `latentext.prompts.corpora`.
"""

from __future__ import annotations

import hashlib

from latentext.prompts.rows import BadRow

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


def dialogue_row(dialogue: str) -> str | BadRow:
    """The prompt of a dialogue, or, where a marker is missing, the reason to record in its place.

    Example:
        >>> dialogue_row("Human: a Assistant: b"), dialogue_row("Human: a").reason
        ('a', 'no-prompt-marker')
    """
    prompt = dialogue_prompt(dialogue)
    if prompt is None:
        return BadRow("no-prompt-marker", f"the dialogue has no {HUMAN!r} followed by {ASSISTANT!r}; it is skipped")
    return prompt


def is_long_enough(review: str) -> bool:
    """Whether a review has more than 30 characters.

    Example:
        >>> is_long_enough("Too short."), is_long_enough("Long enough to be cut, as most reviews are.")
        (False, True)
    """
    return len(review) > SHORTEST_REVIEW


def review_prompt(review: str, number: int, seed: int) -> str:
    """The first 20 to 30 characters of a review, back to a word's end.

    How many is hashed from the seed and the review's number among those that are long enough, so it depends neither on
    the other reviews nor on where a shard begins.

    Example:
        >>> review_prompt("An absolutely wonderful film, from the first minute to the last.", 0, seed=0)
        'An absolutely wonderful'
    """
    return cut_at_word(review, _cut_length(seed, number))


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
