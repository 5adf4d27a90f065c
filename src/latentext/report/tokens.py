"""Pictures of tokens: which are most frequent, and one text token by token, coloured by what is still to come.

A dataset holds ids; their text is the business of a tokenizer, which the caller brings. Without one, ids are shown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.font_manager import findfont, get_font

from latentext.dataset.reader import Dataset
from latentext.dataset.targets import TextLengths, text_lengths
from latentext.report.picture import BLUE, Picture, Skipped, Subject, canvas, label, remaining_norm, remaining_scale

FREQUENT = Subject("frequent_tokens", "Most frequent generated tokens")
SEQUENCE = Subject("sequence", "One text, token by token")

Decode = Callable[[int], str]
"""The text of one token id."""

_NO_IDS = "the records hold no token ids: the texts came from a server"
_BARS = 20
_MOST_TOKENS = 240
_LINE = 88
"""Characters in a line of the token picture."""
_LONGEST = 40
"""Characters of a label; a longer one would leave no room for what it labels."""


def as_id(token_id: int) -> str:
    """What a token is called where there is no tokenizer."""
    return f"#{token_id}"


def frequent_tokens(dataset: Dataset, decode: Decode = as_id) -> Picture | Skipped:
    """The tokens that occur most often among all that were generated, end tokens included."""
    counts = _token_counts(dataset)
    total = int(counts.sum())
    if not total:
        return FREQUENT.skipped(_no_tokens(text_lengths(dataset)))
    top = np.lexsort((np.arange(len(counts)), -counts))[:_BARS]
    top = top[counts[top] > 0]
    names = [drawable(decode(int(token_id))) for token_id in top]
    with canvas(height=1.2 + 0.22 * len(top)) as (figure, (panel,)):
        panel.barh(np.arange(len(top)), 100 * counts[top] / total, color=BLUE)
        panel.set_yticks(np.arange(len(top)), labels=names, fontfamily="DejaVu Sans Mono", fontsize=8)
        panel.invert_yaxis()
        panel.grid(axis="y", visible=False)
        label(panel, "share of generated tokens (%)", "token (· is a space)")
        panel.set_title(f"n = {total:,} tokens, {int((counts > 0).sum()):,} different")
        numbers = {f"{name} (id {i})": f"{int(counts[i]):,}" for name, i in zip(names[:5], top, strict=False)}
        return FREQUENT.drawn(figure, f"Among all generated tokens, the {len(top)} most frequent.", numbers)


def _no_tokens(lengths: TextLengths) -> str:
    return _NO_IDS if lengths.whole.any() else lengths.why_none_is_whole()


def coloured_sequence(dataset: Dataset, decode: Decode = as_id) -> Picture | Skipped:
    """The text of median length among those that ended by themselves, put together again from its token ids."""
    lengths = text_lengths(dataset)
    whole = np.flatnonzero(lengths.whole)
    if not len(whole):
        return SEQUENCE.skipped(lengths.why_none_is_whole())
    by_length = whole[np.argsort(lengths.total_tokens[whole], kind="stable")]
    record = _record(dataset, int(by_length[(len(by_length) - 1) // 2]))
    ids = record["token_ids"]
    if not ids:
        return SEQUENCE.skipped(_NO_IDS)
    tokens = [drawable(decode(token_id)) for token_id in ids[:_MOST_TOKENS]]
    places = _places(tokens)
    lines = places[-1][1] + 1
    with canvas(width=9.0, height=max(1.7, 0.9 + 0.26 * lines)) as (figure, (panel,)):
        _draw_tokens(panel, tokens, places, len(ids))
        scale = ScalarMappable(remaining_norm(len(ids) - 1), "viridis")
        remaining_scale(figure, panel, scale, len(ids) - 1)
        panel.set_title(f"request {record['index']}, sample {record['sample']}: n = {len(ids):,} tokens")
        shown = "" if len(ids) <= _MOST_TOKENS else f" The first {_MOST_TOKENS} of {len(ids):,} tokens are shown."
        caption = "A text of median length. The colour of a token is the number of tokens still to come after it"
        return SEQUENCE.drawn(figure, f"{caption}; · is a space.{shown}", {"tokens of this text": f"{len(ids):,}"})


def drawable(text: str) -> str:
    r"""A token as a label: spaces as dots, and what cannot be seen or has no glyph in the font as its escape.

    A long one is cut, which an ellipsis shows.

    Example:
        >>> drawable(" hello\n"), drawable("猫")
        ('·hello\\n', '\\u732b')
    """
    glyphs = get_font(findfont("DejaVu Sans Mono")).get_charmap()
    shown = "".join(_drawable(character, glyphs) for character in text) or "(empty)"
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _drawable(character: str, glyphs: Any) -> str:
    if character == " ":
        return "·"
    if unicodedata.category(character)[0] in "CZ" or ord(character) not in glyphs:
        return character.encode("unicode_escape").decode("ascii")
    return character


def _token_counts(dataset: Dataset) -> npt.NDArray[np.int64]:
    """How often each id was generated; as long as the vocabulary that was used."""
    counts = np.zeros(0, np.int64)
    for table in dataset.iter_records(["token_ids"]):
        here = np.bincount(table["token_ids"].combine_chunks().flatten().to_numpy(zero_copy_only=False))
        longer = np.zeros(max(len(counts), len(here)), np.int64)
        longer[: len(counts)] += counts
        longer[: len(here)] += here
        counts = longer
    return counts


def _record(dataset: Dataset, number: int) -> dict[str, Any]:
    """One record by its row number."""
    for table in dataset.iter_records(["index", "sample", "token_ids"]):
        if number < table.num_rows:
            row: dict[str, Any] = table.slice(number, 1).to_pylist()[0]
            return row
        number -= table.num_rows
    raise IndexError(number)


def _places(tokens: list[str]) -> list[tuple[int, int]]:
    """Column and line of each token; a token that does not fit into what is left of a line opens the next."""
    places, column, line = [], 0, 0
    for token in tokens:
        if column and column + len(token) > _LINE:
            column, line = 0, line + 1
        places.append((column, line))
        column += len(token) + 1
    return places


def _draw_tokens(panel: Axes, tokens: list[str], places: list[tuple[int, int]], length: int) -> None:
    norm, colours = remaining_norm(length - 1), matplotlib.colormaps["viridis"]
    for step, (token, (column, line)) in enumerate(zip(tokens, places, strict=True)):
        shade = float(norm(length - step))
        background = {"facecolor": colours(shade), "edgecolor": "none", "boxstyle": "square,pad=0.12"}
        ink = "black" if shade > 0.55 else "white"
        style: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": 9.5, "color": ink, "va": "center"}
        panel.text(column, line, token, bbox=background, **style)
    panel.set_xlim(-0.5, _LINE + 1)
    panel.set_ylim(places[-1][1] + 0.7, -0.7)
    panel.axis("off")
