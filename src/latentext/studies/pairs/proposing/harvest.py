"""From replies to scenarios: parse, drop what was proposed before, validate, count, keep the first so many.

Replies are taken in the order of their requests, whatever the order in which they arrived, and everything here follows
from them alone: the same answers give the same scenarios, byte for byte.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from latentext.studies.pairs.checks import PairCheck
from latentext.studies.pairs.proposing.replies import ProposalReply, RawPair, ReplyKind, parse_reply
from latentext.studies.pairs.scenario import Scenario
from latentext.studies.pairs.tally import ReasonTally
from latentext.studies.pairs.task import PairTask
from latentext.studies.pairs.tokenizer import PairTokenizer
from latentext.studies.pairs.validation import validate_pairs

_NOT_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class ProposalAnswer:
    """What came back for one request.

    Attributes:
        text: None where the request failed.
        finish_reason: as the provider gives it; of a failed request the reason of the failure.
    """

    text: str | None
    finish_reason: str = "stop"
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Yield:
    """What one portion of answers gave: pairs that were proposed, those that were new, those that are valid."""

    proposed: int
    new: int
    valid: int


@dataclass(slots=True)
class Harvest:
    """All that came of the answers so far; fed by `take`.

    Attributes:
        target: scenarios wanted; valid pairs beyond are counted and not kept.
        scenarios: the first valid pairs, in the order of the answers.
        replies: how many of each kind.
        broken: entries of replies that were no pair.
        proposed: pairs in all replies.
        exact_duplicates: pairs that came before, letter by letter.
        duplicates: pairs that came before but for case, spaces and punctuation, or with the sides exchanged.
        tally: what the validator found about the others, by tokenizer and reason.
        rejected: the pairs of the last portion that are not valid.

    Example:
        >>> from latentext.studies.pairs import load_task, load_tokenizers
        >>> harvest = Harvest(load_task("refusal"), load_tokenizers(["tiny"]), target=10)
        >>> answers = ['{"pairs": [{"safe": "Go on", "harmful": 5}]}', "I can't help with that."]
        >>> harvest.take([ProposalAnswer(answer) for answer in answers])
        Yield(proposed=1, new=1, valid=0)
        >>> dict(harvest.replies)
        {<ReplyKind.PAIRS: 'pairs'>: 1, <ReplyKind.REFUSED: 'refused'>: 1}
    """

    task: PairTask
    tokenizers: Sequence[PairTokenizer]
    target: int
    scenarios: list[Scenario] = field(default_factory=list)
    replies: Counter[ReplyKind] = field(default_factory=Counter)
    broken: int = 0
    proposed: int = 0
    exact_duplicates: int = 0
    duplicates: int = 0
    tally: ReasonTally = field(init=False)
    rejected: list[PairCheck] = field(default_factory=list)
    _exact: set[tuple[str, str]] = field(default_factory=set)
    _normalised: set[frozenset[str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tally = ReasonTally.of(self.tokenizers)

    @property
    def valid(self) -> int:
        """Valid pairs, those beyond the target included."""
        return self.tally.valid()

    @property
    def complete(self) -> bool:
        """Whether there are as many scenarios as wanted."""
        return len(self.scenarios) >= self.target

    def take(self, answers: Iterable[ProposalAnswer]) -> Yield:
        """Add the answers of the next requests, in the order of the requests."""
        before = self.proposed, self.tally.pairs, self.valid
        self.rejected = []
        fresh = [pair for answer in answers for pair in self._read(answer) if self._is_new(pair)]
        for check in self.tally.watch(validate_pairs(fresh, self.tokenizers, self.task.forms)):
            if not check.valid:
                self.rejected.append(check)
            elif not self.complete:
                scenario = Scenario(len(self.scenarios), self.task.task_name, check.texts, checks=check.checks)
                self.scenarios.append(scenario)
        return Yield(self.proposed - before[0], self.tally.pairs - before[1], self.valid - before[2])

    def used_words(self, most: int) -> list[str]:
        """The words that differ most often in the scenarios so far, if they do so more than once."""
        counts = Counter(word for scenario in self.scenarios for word in scenario.words)
        return [word for word, count in counts.most_common(most) if count > 1 and " " not in word]

    def _read(self, answer: ProposalAnswer) -> Sequence[RawPair]:
        if answer.failed:
            reply = ProposalReply(ReplyKind.FAILED)
        else:
            reply = parse_reply(answer.text, self.task.sides, answer.finish_reason)
        self.replies[reply.kind] += 1
        self.broken += reply.broken
        self.proposed += len(reply.pairs)
        return reply.pairs

    def _is_new(self, pair: RawPair) -> bool:
        first, second = pair
        if not isinstance(first, str) or not isinstance(second, str):
            return True  # No text: the validator says so.
        if (first, second) in self._exact:
            self.exact_duplicates += 1
            return False
        self._exact.add((first, second))
        normalised = frozenset((normalised_text(first), normalised_text(second)))
        if len(normalised) == 2 and normalised in self._normalised:
            self.duplicates += 1
            return False
        self._normalised.add(normalised)
        return True


def normalised_text(text: str) -> str:
    """What two texts have in common that read as the same: words in lower case with one space between.

    Example:
        >>> normalised_text("Help me  make a cake!") == normalised_text("help me make a cake")
        True
    """
    return _NOT_A_WORD.sub(" ", text.casefold()).strip()
