"""Whether a text has a legal length: a verdict a text, kept with the scores, for every policy of a spec's `length`.

With ``retry`` the verdict also decides whether another sample of the request is drawn, so one function judges both
while texts are written and when they are scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from latentext.dataset.checks import LENGTH_VERSION
from latentext.finish_reasons import is_whole
from latentext.sentences import completion_of
from latentext.spec import LengthSpec
from latentext.word_count import count_words

COLUMNS = ("accepted", "words", "cut")
"""Numbers of every text: whether its length is legal (0 or 1), its words, whether it was cut at the limit (0 or 1)."""


def measure_lengths(
    length: LengthSpec, texts: Iterable[tuple[str, str]], version: int = LENGTH_VERSION
) -> list[dict[str, float]]:
    """The numbers of `COLUMNS` for each (text, finish reason); `length` has its limits.

    A text that was cut at the limit of tokens, and is not cut back, has no known length and is not accepted.

    Example:
        >>> measure_lengths(LengthSpec(min=2, max=4), [("One two.", "stop"), ("One", "stop"), ("One two.", "length")])
        ... # doctest: +NORMALIZE_WHITESPACE
        [{'accepted': 1.0, 'words': 3.0, 'cut': 0.0}, {'accepted': 0.0, 'words': 1.0, 'cut': 0.0},
         {'accepted': 0.0, 'words': 3.0, 'cut': 1.0}]
    """
    texts = list(texts)
    completions = [completion_of(text, reason, length) for text, reason in texts]
    found = []
    for (text, reason), completion, words in zip(texts, completions, count_words(completions), strict=True):
        fewest, most = length.min or 0, length.max if length.max is not None else words
        known = is_whole(reason) or length.policy == "sentence"
        accepted = known and fewest <= words <= most
        cut = completion != text if version == 1 else not is_whole(reason)
        found.append({"accepted": float(accepted), "words": float(words), "cut": float(cut)})
    return found


def tally_lengths(
    length: LengthSpec,
    samples: int,
    records: Sequence[Mapping[str, Any]],
    measured: Sequence[Mapping[str, float] | str],
) -> dict[str, int]:
    """Counts for a receipt: texts accepted and rejected; with ``retry`` requests that have an accepted text, and those
    whose `samples` are used up without one.
    """
    verdicts: dict[int, list[bool]] = {}
    for record, found in zip(records, measured, strict=True):
        verdicts.setdefault(record["index"], []).append(not isinstance(found, str) and found["accepted"] == 1.0)
    if length.policy == "retry":
        accepted = sum(any(texts) for texts in verdicts.values())
        rejected = sum(len(texts) == samples and not any(texts) for texts in verdicts.values())
        return {"accepted": accepted, "rejected": rejected, "drawn": len(records)}
    accepted = sum(sum(texts) for texts in verdicts.values())
    return {"accepted": accepted, "rejected": len(records) - accepted}
