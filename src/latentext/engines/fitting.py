"""Whether a prompt can be continued at all: asked by engines that know the model's context and vocabulary."""

from __future__ import annotations

from latentext.request import Request


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
