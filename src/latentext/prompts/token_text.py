"""The text of single tokens, as they read inside a sentence."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

_ANCHOR = "a"


def token_text(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """What one token adds to a text, its leading space and special tokens included.

    Decoders of sentencepiece vocabularies drop the space that opens a text, so the token is decoded behind another
    one. A token that is only a part of a character comes as U+FFFD.

    Example:
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> token_text(load_tokenizer("tiny"), 4)
        '<|eot_id|>'
    """
    opening = tokenizer.encode(_ANCHOR, add_special_tokens=False)
    whole = str(tokenizer.decode([*opening, token_id], clean_up_tokenization_spaces=False))
    return whole.removeprefix(tokenizer.decode(opening, clean_up_tokenization_spaces=False))
