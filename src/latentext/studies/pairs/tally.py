"""Yield: how many pairs each tokenizer lets through, and why the others fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from latentext.studies.pairs.checks import PairCheck, Reason
from latentext.studies.pairs.tokenizer import PairTokenizer

ALL = "all"
"""The row of a tally that counts pairs that hold under every tokenizer."""


@dataclass(slots=True)
class ReasonTally:
    """Counts of pairs by tokenizer and reason; fed by `watch` while the results go by.

    Example:
        >>> tally = ReasonTally(["qwen", "llama"])
        >>> for check in tally.watch([]): ...
        >>> tally.pairs, tally.valid("qwen")
        (0, 0)
    """

    names: Sequence[str]
    pairs: int = 0
    reasons: dict[str, Counter[Reason]] = field(default_factory=dict)

    @classmethod
    def of(cls, tokenizers: Sequence[PairTokenizer]) -> ReasonTally:
        """An empty tally for these tokenizers."""
        return cls([tokenizer.name for tokenizer in tokenizers])

    def watch(self, checks: Iterable[PairCheck]) -> Iterator[PairCheck]:
        """Pass results on and count them."""
        for check in checks:
            self._add(check)
            yield check

    def valid(self, name: str = ALL) -> int:
        """How many pairs are valid under one tokenizer, or under all of them."""
        return self.pairs - sum(self.reasons.get(name, Counter()).values())

    def failed(self, reason: Reason, name: str = ALL) -> int:
        """How many pairs fail for this reason under one tokenizer, or (the first reason found) at all."""
        return self.reasons.get(name, Counter())[reason]

    def reasons_found(self) -> list[Reason]:
        """The reasons that occur, in their fixed order."""
        found = {reason for counts in self.reasons.values() for reason in counts}
        return [reason for reason in Reason if reason in found]

    def _add(self, check: PairCheck) -> None:
        self.pairs += 1
        if check.reason is None:
            return
        self.reasons.setdefault(ALL, Counter())[check.reason] += 1
        for name in self.names:
            own = next((form.reason for form in check.checks if form.tokenizer == name and form.reason), None)
            # What is wrong with the texts themselves is wrong under every tokenizer.
            if reason := own or (None if check.checks else check.reason):
                self.reasons.setdefault(name, Counter())[reason] += 1
