"""What was wrong with a pair, said so that a model can do better in the next round.

A model does not see its own pairs as tokens, let alone as those of three other models. So it is told which words were
exchanged, under which tokenizer that went wrong, and into what pieces they were cut.
"""

from __future__ import annotations

from collections.abc import Iterable

from latentext.studies.pairs.checks import FormCheck, PairCheck, Reason
from latentext.studies.pairs.scenario import Scenario

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MOST_CHARACTERS = 60
_MOST_PIECES = 4


def lesson(check: PairCheck) -> str:
    """One line about a pair that is not valid.

    Example:
        ``'cook' and 'bake' differ in two tokens in SOLAR: ' co'/' b', 'ok'/'ake'``
    """
    if check.reason is Reason.IDENTICAL:
        return f"both sentences were the same: {_shown(_text(check, 0))}"
    if check.reason is Reason.EMPTY:
        return "one of the two sentences was empty"
    if check.reason is Reason.NOT_A_STRING or check.reason is None:
        return "one of the two sentences was no text"
    failed = next((form for form in check.checks if form.reason is not None), None)
    first, second = Scenario(0, "", check.texts).words
    words = f"{_shown(first)} and {_shown(second)}"
    if failed is None:  # The tokenizers disagree on the word.
        return f"{words} are cut into different tokens by different models"
    if failed.reason is Reason.LENGTH:
        return f"{words} are not one token each in {failed.tokenizer}: {_lengths(failed)}"
    if failed.reason is Reason.SAME_IDS:
        return f"{words} are the same tokens in {failed.tokenizer}"
    return f"{words} differ in {_number(len(failed.positions))} tokens in {failed.tokenizer}: {_pieces(failed)}"


def lessons(checks: Iterable[PairCheck], most: int) -> list[str]:
    """At most so many different lessons, the reasons taking turns, so that one kind does not hide the others."""
    by_reason: dict[Reason | None, dict[str, None]] = {}
    for check in checks:
        by_reason.setdefault(check.reason, {})[lesson(check)] = None
    waiting = [list(found) for found in by_reason.values()]
    chosen: list[str] = []
    while waiting and len(chosen) < most:
        waiting = [found for found in waiting if found]
        chosen += [found.pop(0) for found in waiting[: most - len(chosen)]]
    return chosen


def _text(check: PairCheck, side: int) -> str:
    return str(list(check.texts.values())[-1][side])


def _lengths(form: FormCheck) -> str:
    return f"the sentences have {form.lengths[0]} and {form.lengths[1]} tokens"


def _pieces(form: FormCheck) -> str:
    pieces = [f"{_shown(first)}/{_shown(second)}" for first, second in form.tokens[:_MOST_PIECES]]
    return ", ".join(pieces) + (", …" if len(form.tokens) > _MOST_PIECES else "")


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _shown(text: str) -> str:
    text = text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
    return repr(text)
