"""Stop strings: when a text has written one, and what is left of the text then.

Whether a text ends and where it is cut are one question asked once, so that no text is cut without having ended. A stop
string counts when the token that completes it is the `min_new_tokens`-th or a later one.

`fitting` is the other end: a prompt that leaves no room for a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

from latentext.prompts.token_text import continuation_text
from latentext.request import Request
from latentext.spec import Decoding


class StopStrings:
    """The stop strings of a decoding, looked for in texts of one tokenizer."""

    def __init__(self, tokenizer: Any, decoding: Decoding):
        self._tokenizer, self._stop = tokenizer, decoding.stop
        self._first_end = max(1, decoding.min_new_tokens)
        self._silent = frozenset(tokenizer.all_special_ids)
        # A character takes at most as many tokens as it has bytes; the first ones of a tail may decode otherwise than
        # inside the text (a lost leading space, half a character), hence the margin.
        self._tail = max((len(s.encode()) for s in decoding.stop), default=0) + 8

    def reached(self, prompt_token_ids: Sequence[int], token_ids: Sequence[int]) -> bool:
        """Whether the text that these generated tokens spell behind their prompt has come to a stop string."""
        if not self._stop or len(token_ids) < self._first_end or not self._may_be_reached(prompt_token_ids, token_ids):
            return False
        written = continuation_text(self._tokenizer, prompt_token_ids, token_ids)
        return self._find(prompt_token_ids, token_ids, written) is not None

    def text(self, prompt_token_ids: Sequence[int], token_ids: Sequence[int]) -> str:
        """The text without special tokens, cut before the first stop string."""
        written = continuation_text(self._tokenizer, prompt_token_ids, token_ids)
        return written[: self._find(prompt_token_ids, token_ids, written)] if self._stop else written

    def _may_be_reached(self, prompt_token_ids: Sequence[int], token_ids: Sequence[int]) -> bool:
        """A quick look at the last tokens: no stop string is missed, some may be the prompt's own."""
        backwards = chain(reversed(token_ids), reversed(prompt_token_ids))
        spelt = list(islice((token for token in backwards if token not in self._silent), self._tail))[::-1]
        tail = self._tokenizer.decode(spelt, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        # Behind half a character, some decoders spoil whole ones too.
        return "\ufffd" in tail or any(s in tail for s in self._stop)

    def _find(self, prompt_token_ids: Sequence[int], token_ids: Sequence[int], written: str) -> int | None:
        required = continuation_text(self._tokenizer, prompt_token_ids, token_ids[: self._first_end - 1])
        # A cut-off character shows as a replacement mark, which the next token may turn into something shorter.
        before = len(required.rstrip("\ufffd"))
        found = (written.find(s, max(0, before - len(s) + 1)) for s in self._stop)
        return min((at for at in found if at >= 0), default=None)


def unfit(request: Request, context_length: int, vocab_size: int) -> tuple[str, str] | None:
    """Why a request gives no text, as a reason and a message; None if it can be written.

    Example:
        >>> unfit(Request(0, "key", {}, [], "", [1, 2, 3]), 3, 10)
        ('prompt-too-long', "the prompt has 3 tokens; the model's context is 3")
    """
    length = len(request.prompt_token_ids)
    if length == 0:
        return "empty-prompt", "the prompt has no tokens"
    if length >= context_length:
        return "prompt-too-long", f"the prompt has {length} tokens; the model's context is {context_length}"
    if min(request.prompt_token_ids) < 0 or max(request.prompt_token_ids) >= vocab_size:
        return "bad-token", f"the prompt has a token id outside the model's vocabulary of {vocab_size}"
    return None
