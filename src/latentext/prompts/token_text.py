"""The text of tokens where they stand: inside a sentence, behind a prompt.

Decoders of SentencePiece vocabularies drop the space that opens a text. So what tokens add to a text is never decoded
alone: it is decoded with what comes before, and cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

_ANCHOR = "a"


def token_text(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """What one token adds to a text, its leading space and special tokens included.

    A token that is only a part of a character comes as U+FFFD.

    Example:
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> token_text(load_tokenizer("tiny"), 4)
        '<|eot_id|>'
    """
    opening = tokenizer.encode(_ANCHOR, add_special_tokens=False)
    whole = str(tokenizer.decode([*opening, token_id], clean_up_tokenization_spaces=False))
    return whole.removeprefix(tokenizer.decode(opening, clean_up_tokenization_spaces=False))


def continuation_text(tokenizer: Any, before: Sequence[int], token_ids: Sequence[int]) -> str:
    """What `token_ids` add to the text that the tokens `before` spell, without special tokens.

    The two texts together are the whole, decoded: the space between them is kept. Where `before` ends inside a
    character that `token_ids` complete, the character is theirs.

    Example:
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> tokenizer = load_tokenizer("tiny")
        >>> before, ids = (tokenizer.encode(text, add_special_tokens=False) for text in ("a dog", " named Spot"))
        >>> continuation_text(tokenizer, before, ids)
        ' named Spot'
    """
    opening, whole = _visible(tokenizer, before), _visible(tokenizer, [*before, *token_ids])
    return whole[len(opening if whole.startswith(opening) else opening.rstrip("\ufffd")) :]


def loses_opening_space(tokenizer: Any) -> bool:
    """Whether a token that begins with a space is decoded without it when it is decoded alone.

    Example:
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> loses_opening_space(load_tokenizer("tiny"))
        False
    """
    ids = tokenizer.encode("a a", add_special_tokens=False)
    return continuation_text(tokenizer, ids[:-1], ids[-1:]) != _visible(tokenizer, ids[-1:])


def _visible(tokenizer: Any, token_ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text
