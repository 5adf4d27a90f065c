"""What is found about a pair: the values that the validator gives and everything else reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

TwinTexts = Mapping[str, tuple[Any, Any]]
"""The two texts of a pair in each form: ``{"single_token": (prompt, counterfactual), …}``."""


class Reason(StrEnum):
    """Why a pair is not valid: the whole list, in the order in which it is looked for."""

    NOT_A_STRING = "not-a-string"
    EMPTY = "empty"
    IDENTICAL = "identical"
    LENGTH = "length"
    SAME_IDS = "same-ids"
    SEVERAL_DIFFERENCES = "several-differences"
    DIFFERENT_WORDS = "different-words"


class FormCheck(NamedTuple):
    """One form of a pair under one tokenizer.

    A named tuple, because a frozen dataclass takes several times as long to make, and every pair has six of these.

    Attributes:
        tokenizer: its name.
        form: the form's name; a form inside the chat template is called ``<form> in chat``.
        lengths: token counts of both texts.
        positions: where the ids differ, from 0; empty when the lengths differ.
        token_ids: the two ids at each of these positions.
        tokens: what these tokens stand for in the text, leading space included.
        reason: None when exactly one id differs.
    """

    tokenizer: str
    form: str
    lengths: tuple[int, int]
    positions: tuple[int, ...]
    token_ids: tuple[tuple[int, int], ...]
    tokens: tuple[tuple[str, str], ...]
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class PairCheck:
    """What was found about one pair.

    Attributes:
        texts: both texts in each form, as they were encoded: the normalised terminal mark shows here.
        checks: one for each tokenizer and form; empty when there was nothing to encode.
        reason: the first reason found, None when the pair is valid.
    """

    texts: TwinTexts
    checks: tuple[FormCheck, ...]
    reason: Reason | None

    @property
    def valid(self) -> bool:
        """Whether the pair holds in every form under every tokenizer."""
        return self.reason is None

    def describe(self) -> str:
        """Why the pair is not valid, with the tokenizer and the tokens, in one line.

        Example:
            ``SOLAR, single_token: 30 and 29 tokens (length)``
        """
        for check in self.checks:
            if check.reason is Reason.LENGTH:
                return f"{check.tokenizer}, {check.form}: {check.lengths[0]} and {check.lengths[1]} tokens (length)"
            if check.reason is not None:
                return f"{check.tokenizer}, {check.form}: {_differences(check)} ({check.reason})"
        if self.reason is Reason.DIFFERENT_WORDS:
            words = (f"{check.tokenizer}, {check.form}: {_differences(check)}" for check in self.checks)
            return f"{'; '.join(words)} ({self.reason})"
        return str(self.reason or "valid")


def _differences(check: FormCheck) -> str:
    if not check.positions:
        return "no id differs"
    pairs = ", ".join(f"{first!r}/{second!r}" for first, second in check.tokens)
    return f"{len(check.positions)} of {check.lengths[0]} tokens differ: {pairs}"
