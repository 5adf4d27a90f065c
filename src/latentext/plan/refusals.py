"""Options of a spec that would have no effect: refused when a plan is first made, before there is anything to lose.

Plans that are there go on as they were begun, whichever version began them.
"""

from __future__ import annotations

import json
import re
from itertools import islice

from transformers import PreTrainedTokenizerBase

from latentext.dataset.splits import OWN_GROUPS
from latentext.errors import SpecError
from latentext.plan.sweep import Chats
from latentext.prompts.rows import BadRow
from latentext.spec import Decoding, Spec, SplitSpec

_LIKE_SPECIAL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<\uff5c[^<>\s]{1,40}\uff5c>|</?s>|<(?:eos|bos|pad|unk|eot|end_of_turn|start_of_turn)>"
)
"""Special tokens of the Llama, ChatML, DeepSeek, Mistral and Gemma families, as they are written."""

_LOOKED_AT = 1000
"""Rows in which the first that gives a prompt is looked for."""


def refuse_idle_options(spec: Spec, chats: Chats, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Refuse templates, a split and stop strings that could never do anything.

    Args:
        tokenizer: of the model; None where only a server has it.

    Raises:
        SpecError: the first of them.
    """
    chats.refuse_idle_templates()
    _refuse_unknown_group(spec.split, chats)
    if tokenizer is not None:
        refuse_special_stop(spec.decoding, tokenizer, remote=spec.model.remote)
    else:
        _refuse_stop_like_special(spec.decoding)


def refuse_special_stop(decoding: Decoding, tokenizer: PreTrainedTokenizerBase, *, remote: bool = False) -> None:
    """Refuse stop strings with a special token in them: texts are decoded without special tokens.

    Args:
        remote: a server decodes them.

    Raises:
        SpecError: naming the token.

    Example:
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> refuse_special_stop(Decoding(stop="<|eot_id|>"), load_tokenizer("tiny"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        latentext.errors.SpecError: decoding.stop: '<|eot_id|>' never stops a text: <|eot_id|> is a special token (4)...
    """
    special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for stop in decoding.stop:
        if (found := next((content for content in special if content and content in stop), None)) is not None:
            raise SpecError(
                f"{stop!r} never stops a text: {found} is a special token ({special[found]}), and texts are decoded "
                "without these",
                where="decoding.stop",
                remedy=_remedy(stop)
                if remote
                else "leave it out: it ends texts where the model's eos_token_id names it",
            )


def _refuse_stop_like_special(decoding: Decoding) -> None:
    """The same where nothing on this machine knows the tokens of a server's model: by what special tokens look like."""
    for stop in decoding.stop:
        if (found := _LIKE_SPECIAL.search(stop)) is not None:
            what = f"{stop!r} stops no text: {found[0]} is a special token, and servers send texts without these"
            raise SpecError(what, where="decoding.stop", remedy=_remedy(stop))


def _remedy(stop: str) -> str:
    request = f"model.api.request: {{stop: [{json.dumps(stop, ensure_ascii=False)}]}}"
    return (
        f"leave it out: the server ends texts there by itself; if yours writes such tokens into texts, give {request}"
    )


def _refuse_unknown_group(split: SplitSpec, chats: Chats) -> None:
    """Refuse a split by what no text has: exports would refuse it when all texts are written."""
    if split.by in OWN_GROUPS:
        return
    first = next(
        (c for c in (chats[n] for n in islice(range(len(chats)), _LOOKED_AT)) if not isinstance(c, BadRow)), None
    )
    if first is not None and split.by not in first.variables:
        known = ", ".join([*OWN_GROUPS, *first.variables])
        raise SpecError(
            f"cannot split by {split.by!r}: the rows have no such column",
            where="split.by",
            remedy=f"there are: {known}",
        )
