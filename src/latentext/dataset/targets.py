"""What a probe is asked to read from a state: how much of the text is still to come.

A target is a pure function of the rows of a capture: `token_rows` says where in its text each row stands, and each
target gives one number a row, NaN where there is none. There is none for prompt positions, and none for any row of a
text that was cut at the limit: where it would have ended is not known, and counting to the cut would pass a property
of the limit for one of the model. So whoever drops NaN drops those, and ``rows.whole`` says which they were.

With P prompt tokens and T generated ones (the end token counts), row s stands at position P-1+s and predicts
generated token s, 0 ≤ s < T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from latentext.dataset.reader import Dataset
from latentext.dataset.states_view import StatesView
from latentext.errors import ArgumentError, DatasetError
from latentext.finish_reasons import GIVEN, LENGTH, STOP, finish_reason

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_IDS = ("prompt_token_ids", "token_ids")

WHOLE, CUT, UNKNOWN_END, WRITTEN_BY_NOBODY, UNCOUNTED = range(5)
ENDINGS = {
    WHOLE: "",
    CUT: "cut at the limit",
    UNKNOWN_END: "ended for an unknown reason",
    WRITTEN_BY_NOBODY: "given, not written by the model",
    UNCOUNTED: "the server counted no tokens",
}
"""Why a text has no known length, in words; nothing where it has one."""

BIN_EDGES = (1, 2, 5, 10, 20, 50, 100)
"""Remaining tokens from which each bin but the first begins."""


@dataclass(frozen=True)
class TextLengths:
    """Lengths of all texts of a dataset, in the order of its records.

    Attributes:
        prompt_tokens: P.
        total_tokens: T, the end token included.
        ending: one of `ENDINGS`. Where a text was cut or ended for an unknown reason, T is a lower bound.
    """

    prompt_tokens: Integers
    total_tokens: Integers
    ending: npt.NDArray[np.int8]

    @property
    def whole(self) -> npt.NDArray[np.bool_]:
        """Whether the text ended by itself and its length is known."""
        whole: npt.NDArray[np.bool_] = self.ending == WHOLE
        return whole

    def without_length(self) -> str:
        """How many of the texts have no known length, by reason; empty where all have one."""
        counts = {words: int((self.ending == ending).sum()) for ending, words in ENDINGS.items() if words}
        return ", ".join(f"{count:,} {words}" for words, count in counts.items() if count)

    def why_none_is_whole(self) -> str:
        """In words why no text has a known length, where none has."""
        if not len(self.ending):
            return "there are no texts yet"
        if (self.ending == WRITTEN_BY_NOBODY).all():
            return "the texts were given: the model wrote nothing, so no tokens remain"
        return f"no text has a known length: {self.without_length()}"


@dataclass(frozen=True)
class TokenRows:
    """Where in its text each row of a view stands; all arrays are [rows].

    Attributes:
        record: number of the text in ``dataset.records()``.
        step: s, the generated token that the row predicts; negative in the prompt.
        prompt_tokens, total_tokens, whole: of the row's text, as in `TextLengths`.
    """

    record: Integers
    step: Integers
    prompt_tokens: Integers
    total_tokens: Integers
    whole: npt.NDArray[np.bool_]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Rows that have a length target: of generated tokens, in texts that ended by themselves."""
        return self.whole & (self.step >= 0)


def refuse_given_texts(dataset: Dataset) -> None:
    """Refuse to ask for lengths where texts were given, as pairs are: the model wrote none.

    Raises:
        DatasetError: nothing was written.
    """
    if dataset.spec.decoding.given:
        what = "its texts were given (pairs, for example): the model wrote nothing, so there are no remaining tokens"
        raise DatasetError(what, where=str(dataset.directory), remedy="take a dataset of texts that a model wrote")


Target = Callable[[TokenRows], Floats]
"""Rows → one number each, NaN where there is none."""


def text_lengths(dataset: Dataset) -> TextLengths:
    """Read the lengths of all texts; 17 bytes a text, whatever their length."""
    columns: tuple[list[Integers], list[Integers], list[npt.NDArray[np.int8]]] = ([], [], [])
    # A server counts tokens in its own way; states stand at the ids that the local tokenizer gave.
    names = _IDS if dataset.spec.model.local else ("usage",)
    for table in dataset.iter_records([*names, "finish_reason"]):
        prompt, total = _lengths(table)
        columns[0].append(prompt)
        columns[1].append(total)
        columns[2].append(_endings(table["finish_reason"].to_pylist(), total))
    prompt, total = (np.concatenate(column) if column else np.empty(0, np.int64) for column in columns[:2])
    return TextLengths(prompt, total, np.concatenate(columns[2]) if columns[2] else np.empty(0, np.int8))


def _endings(reasons: Sequence[str], total: Integers) -> npt.NDArray[np.int8]:
    """A given text has no length that a model decided on; one that nobody counted has no known length."""
    codes = {STOP: WHOLE, LENGTH: CUT, GIVEN: WRITTEN_BY_NOBODY}
    ending = np.fromiter((codes.get(finish_reason(reason), UNKNOWN_END) for reason in reasons), np.int8, len(reasons))
    ending[(ending == WHOLE) & (total == 0)] = UNCOUNTED
    return ending


def _lengths(table: pa.Table) -> tuple[Integers, Integers]:
    """Tokens of prompts and of texts; 0 where a server did not count them."""
    if "usage" in table.column_names:
        usage = table["usage"].combine_chunks()
        counts = [usage.field(name) for name in ("prompt_tokens", "completion_tokens")]
    else:
        counts = [pc.list_value_length(table[name]).cast(pa.int64()) for name in _IDS]
    prompt, total = (pc.fill_null(count, 0).to_numpy(zero_copy_only=False) for count in counts)
    return prompt, total


def token_rows(dataset: Dataset, view: StatesView, lengths: TextLengths | None = None) -> TokenRows:
    """Where in its text each row of `view` stands.

    Args:
        view: of a whole site, or one of its ``view.shards()`` to stay in bounded memory.
        lengths: `text_lengths` of the dataset, read once for many views.

    Example:
        >>> rows = token_rows(data, data.states("final_norm"))                          # doctest: +SKIP
        >>> target = log_remaining_tokens(rows)                                         # doctest: +SKIP
        >>> states = data.states("final_norm")[np.isfinite(target)]                     # doctest: +SKIP
    """
    lengths = lengths or text_lengths(dataset)
    record = dataset.record_numbers(view)
    prompt = lengths.prompt_tokens[record]
    step = view.rows["position"].astype(np.int64) - (prompt - 1)
    return TokenRows(record, step, prompt, lengths.total_tokens[record], lengths.whole[record])


def remaining_tokens(rows: TokenRows) -> Floats:
    """T - 1 - s: tokens still to come after the one that the row predicts; 0 in the last row.

    Example:
        >>> remaining_tokens(_example()).tolist()
        [3.0, 2.0, 1.0, 0.0]
    """
    return _where(rows.known, rows.total_tokens - 1 - rows.step)


def log_remaining_tokens(rows: TokenRows) -> Floats:
    """Natural logarithm of 1 + remaining tokens: an error of 2 weighs more near the end than far from it.

    Example:
        >>> log_remaining_tokens(_example()).round(2).tolist()
        [1.39, 1.1, 0.69, 0.0]
    """
    return np.log1p(remaining_tokens(rows))


def relative_progress(rows: TokenRows) -> Floats:
    """s / T: share of the text that is written when the row is read, from 0 to below 1.

    Example:
        >>> relative_progress(_example()).tolist()
        [0.0, 0.25, 0.5, 0.75]
    """
    return _where(rows.known, rows.step / np.maximum(1, rows.total_tokens))


def total_tokens(rows: TokenRows) -> Floats:
    """T, of the prompt-end row (s = 0) alone: what the model knows of the length before it has written anything.

    Example:
        >>> total_tokens(_example()).tolist()
        [4.0, nan, nan, nan]
    """
    return _where(rows.known & (rows.step == 0), rows.total_tokens)


def remaining_bin(rows: TokenRows, edges: Sequence[int] = BIN_EDGES) -> Floats:
    """Number of the bin that the remaining tokens fall into: bin k begins at ``edges[k - 1]``, bin 0 at 0.

    Raises:
        ArgumentError: the edges do not ascend from 1 or more.

    Example:
        >>> remaining_bin(_example(), edges=(1, 3)).tolist(), bin_names((1, 3))
        ([2.0, 1.0, 1.0, 0.0], ['0', '1-2', '3+'])
    """
    _check(edges)
    remaining = remaining_tokens(rows)
    return _where(np.isfinite(remaining), np.searchsorted(edges, remaining, side="right"))


def bin_names(edges: Sequence[int] = BIN_EDGES) -> list[str]:
    """What each bin holds, in words; errors as `remaining_bin`."""
    _check(edges)
    starts = [0, *edges]
    closed = [str(a) if b - a == 1 else f"{a}-{b - 1}" for a, b in pairwise(starts)]
    return [*closed, f"{starts[-1]}+"]


def ends_within(rows: TokenRows, tokens: int) -> Floats:
    """1 where at most `tokens` tokens are still to come after the predicted one, else 0.

    Example:
        >>> ends_within(_example(), 1).tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    remaining = remaining_tokens(rows)
    return _where(np.isfinite(remaining), remaining <= tokens)


def _where(known: npt.NDArray[np.bool_], values: npt.NDArray[np.generic]) -> Floats:
    return np.where(known, values.astype(np.float64), np.nan)


def _check(edges: Sequence[int]) -> None:
    if not edges or edges[0] < 1 or any(b <= a for a, b in pairwise(edges)):
        raise ArgumentError(f"{list(edges)} are no bin edges", remedy="give ascending whole numbers from 1")


def _example() -> TokenRows:
    """The rows of one text of four tokens, for the examples above."""
    four = np.full(4, 4)
    return TokenRows(np.zeros(4, np.int64), np.arange(4), four, four, np.ones(4, bool))
