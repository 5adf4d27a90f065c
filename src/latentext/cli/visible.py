"""Model output made safe and exact for a terminal: every character that would act instead of being seen is written out.

A generated text can hold escape sequences that move the cursor, and direction marks that show one order and store
another. Neither may reach a terminal, and for research on tokens neither may be invisible.

`token_decoder` gives the tokens of a dataset as text, by the tokenizer of the model that made it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset


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


def token_decoder(dataset: Dataset) -> Callable[[int], str]:
    """Load the tokenizer; what comes back gives the text of one token id.

    Raises:
        SpecError, CredentialsError: the tokenizer is not on this machine and cannot be fetched.
    """
    from latentext.engines.opening import local_model
    from latentext.prompts.token_text import token_text
    from latentext.prompts.tokenizer import load_tokenizer
    from latentext.spec.files import resolve_inputs

    # A folder of a model is written relative to the dataset directory, so that both can be moved together.
    model = local_model(resolve_inputs(dataset.spec, dataset.directory).model)
    if model is None:  # Texts of a server without a local model have no token ids to be decoded.
        return str
    tokenizer = load_tokenizer(model.name, model.revision, model.trust_remote_code)
    return cache(lambda token_id: token_text(tokenizer, token_id))
