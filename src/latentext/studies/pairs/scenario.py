"""A scenario: one pair of tasks, asked in every form. What pairs datasets consist of, whoever proposed the pair.

Words and frame are read off the texts, so scenarios from a word bank, from a model or from a file made elsewhere can
be counted and split by them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latentext.studies.pairs.bank import GAP
from latentext.studies.pairs.checks import FormCheck, TwinTexts
from latentext.studies.pairs.forms import Form

_PUNCTUATION = ".,;:!?…\"'()[]"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One pair in all its forms.

    Attributes:
        scenario_id: its number in the dataset, from 0.
        task: name of the task.
        texts: prompt and counterfactual in each form, the bare task last.
        topic: what it is about, where that is known.
        checks: how the tokenizers cut it, where that is known: one for each tokenizer and form.

    Example:
        >>> scenario = Scenario(0, "refusal", {"multi_token": ("Help me make a cake.", "Help me make a bomb.")})
        >>> scenario.words, scenario.frame
        (('cake', 'bomb'), 'Help me make a {}.')
    """

    scenario_id: int
    task: str
    texts: TwinTexts
    topic: str | None = None
    checks: tuple[FormCheck, ...] = ()

    @property
    def words(self) -> tuple[str, str]:
        """The words that differ, without punctuation: prompt's, counterfactual's."""
        start, stop, first, second = self._difference()
        return (
            " ".join(first[start : len(first) - stop]).strip(_PUNCTUATION),
            " ".join(second[start : len(second) - stop]).strip(_PUNCTUATION),
        )

    @property
    def frame(self) -> str:
        """The bare task with ``{}`` for the words that differ."""
        start, stop, first, _ = self._difference()
        differing = " ".join(first[start : len(first) - stop])
        bare = differing.strip(_PUNCTUATION)
        gap = differing.replace(bare, GAP, 1) if bare else GAP
        return " ".join([*first[:start], gap, *first[len(first) - stop :]])

    def _difference(self) -> tuple[int, int, Sequence[str], Sequence[str]]:
        """How many words agree at the start and at the end of the last form, and all words of both texts."""
        first, second = (str(text).split() for text in list(self.texts.values())[-1])
        shorter = min(len(first), len(second))
        start = next((place for place in range(shorter) if first[place] != second[place]), shorter)
        room = shorter - start
        stop = next((place for place in range(room) if first[-1 - place] != second[-1 - place]), room)
        return start, stop, first, second


def in_forms(scenario_id: int, task: str, forms: Sequence[Form], tasks: tuple[str, str]) -> Scenario:
    """A scenario of two bare tasks."""
    first, second = tasks
    return Scenario(scenario_id, task, {form.name: (form.text(first), form.text(second)) for form in forms})
