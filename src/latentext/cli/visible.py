"""Model output made safe and exact for a terminal: every character that would act instead of being seen is written out.

A generated text can hold escape sequences that move the cursor, and direction marks that show one order and store
another. Neither may reach a terminal, and for research on tokens neither may be invisible.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len

# Controls, formats (direction and zero-width marks), lone surrogates, private use, unassigned, line and paragraph ends.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_DOT = "·"


def visible(text: str) -> str:
    r"""The text with every unseen character as its Python escape, and the backslash doubled so that both stay apart.

    Example:
        >>> print(visible("one\ttwo\x1b[31m"))
        one\ttwo\x1b[31m
    """
    return "".join(_escaped(character) for character in text)


def interlinear(tokens: Sequence[str], labels: Sequence[str], width: int) -> list[str]:
    """Tokens between bars with a label under each, broken into lines of at most `width` columns.

    A token's own spaces are dots, to tell them from the spaces that fill a cell under which the label is wider. A
    token wider than a line gets a line of its own and is left whole.

    Example:
        >>> print("\\n".join(interlinear(["hello", " hello", "."], ["12", "11", "10"], 40)))
        │hello│·hello│. │
            12     11 10
    """
    lines: list[str] = []
    upper, lower = "│", " "
    for token, label in zip(tokens, labels, strict=True):
        cell = visible(token).replace(_DOT, r"\xb7").replace(" ", _DOT)
        columns = max(cell_len(cell), len(label))
        if len(lower) + columns + 1 > width and upper != "│":
            lines += [upper, lower.rstrip()]
            upper, lower = "│", " "
        upper += cell + " " * (columns - cell_len(cell)) + "│"
        lower += label.rjust(columns) + " "
    return [*lines, upper, lower.rstrip()]


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) in _UNSEEN:
        return character.encode("unicode_escape").decode("ascii")
    return character
