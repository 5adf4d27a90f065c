"""States at the ends of segments (sentences, or wherever the user says), for treatments that change along a text."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from latentext.dataset.captures import sites_with
from latentext.dataset.reader import Dataset
from latentext.errors import ArgumentError
from latentext.prompts.token_text import continuation_text
from latentext.spec import Pool

Ends = Callable[[str], Sequence[int]]
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|\n+")


@dataclass(frozen=True)
class Segments:
    """States at the ends of the segments of N texts, T the most segments that a text has.

    Attributes:
        states: [N, T, width], zero behind a text's last segment.
        lengths: segments of each text, [N].
        ids: name of each text, in the order of the rows.
    """

    states: npt.NDArray[np.float32] = field(repr=False)
    lengths: npt.NDArray[np.int64]
    ids: list[Any] = field(repr=False)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """[N, T], true where there is a segment."""
        return np.arange(self.states.shape[1]) < self.lengths[:, None]


def sentence_ends(text: str) -> list[int]:
    """Where the sentences of a text end: the number of characters up to and with each end; the last is the text's.

    A sentence ends with ``.``, ``!``, ``?`` or ``…`` before white space, or at a line break; abbreviations are not
    known. For other rules give `segment_states` a function of your own.

    Example:
        >>> sentence_ends("It rains. Does it? Yes")
        [9, 18, 22]
    """
    length = len(text.rstrip())
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, length)]
    return ends if ends and ends[-1] == length else [*ends, length] if length else []


def segment_ends(
    segments: str | Ends | Mapping[Any, Sequence[int]] | None, pooling: str | Sequence[str]
) -> Ends | Mapping[Any, Sequence[int]] | None:
    """What the option `segments` stands for, or None without it.

    Raises:
        ArgumentError: a word other than ``sentences``, or poolings that leave no state a token.

    Example:
        >>> segment_ends("sentences", "none") is sentence_ends
        True
    """
    if segments is None:
        return None
    if pooling not in ("none", ["none"], ("none",)):
        raise ArgumentError("segments need a state for every token", remedy="use pooling='none'")
    if isinstance(segments, str):
        if segments != "sentences":
            what = f"segments is {segments!r}"
            raise ArgumentError(what, remedy="use sentences, a function, or the ends of segments by id")
        return sentence_ends
    if not callable(segments) and not isinstance(segments, Mapping):
        what = f"segments is a {type(segments).__name__}"
        raise ArgumentError(what, remedy="use sentences, a function, or the ends of segments by id")
    return segments


def segment_states(
    dataset: Dataset,
    tokenizer: Any,
    ends: Ends | Mapping[Any, Sequence[int]] = sentence_ends,
    site: str | int | None = None,
) -> Segments:
    """The state at the end of every segment of every text.

    It stands on the token that writes the segment's last character, so it has read the segment as a whole. Of a text
    that was cut at the limit the very last token was never read by the model; there the state before it is taken.

    Args:
        dataset: with a capture that keeps a state for every token (``pooling="none"``).
        tokenizer: of the model.
        ends: a function from a text to the ends of its segments, in characters, ascending; or those ends by id.
        site: a name or a Hugging Face index; left out, the deepest that was captured so.

    Raises:
        ArgumentError: no ends for a text, or ends that do not fit it.
        DatasetError: there is no such capture.
    """
    none: Pool = "none"
    if site is None:
        site = next(reversed(sites_with(dataset.captures, ("generated",), none)), "final_norm")
    view = dataset.states(site, positions="generated", pool=none)
    frame = dataset.to_frame()
    names = frame["id"].tolist() if "id" in frame else frame["index"].tolist()
    per_text = []
    columns = (frame["index"], names, frame["text"], frame["prompt_token_ids"], frame["token_ids"])
    for index, name, text, prompt_ids, token_ids in zip(*columns, strict=True):
        wanted = list(ends(text) if callable(ends) else _given(ends, name))
        _refuse_unfit(wanted, text, name)
        rows = _rows(wanted, list(map(int, prompt_ids)), list(map(int, token_ids)), tokenizer)
        start = view.text(int(index)).start
        per_text.append(view[np.asarray(rows, np.int64) + start] if rows else np.empty((0, view.width), np.float32))
    lengths = np.array([len(states) for states in per_text], np.int64)
    padded = np.zeros((len(per_text), int(lengths.max(initial=0)), view.width), np.float32)
    for place, states in enumerate(per_text):
        padded[place, : len(states)] = states
    return Segments(padded, lengths, names)


def _given(ends: Mapping[Any, Sequence[int]], name: Any) -> Sequence[int]:
    if name not in ends:
        raise ArgumentError(f"no ends of segments are given for text {name!r}", remedy="give them for every id")
    return ends[name]


def _refuse_unfit(ends: list[int], text: str, name: Any) -> None:
    if ends != sorted(set(ends)) or (ends and not (ends[0] > 0 and ends[-1] <= len(text))):
        what = f"the ends of segments {ends} of text {name!r} do not ascend from 1 to {len(text)}"
        raise ArgumentError(what, remedy="give the number of characters up to the end of each segment")


def _rows(ends: list[int], prompt_ids: list[int], token_ids: list[int], tokenizer: Any) -> list[int]:
    """Row s stands at position P-1+s, on generated token s-1: so the row of token k is k+1, if there is one."""

    def characters(tokens: int) -> int:
        return len(continuation_text(tokenizer, prompt_ids, token_ids[:tokens]))

    counts = range(len(token_ids) + 1)
    return [min(bisect_left(counts, end, key=characters), len(token_ids) - 1) for end in ends]
