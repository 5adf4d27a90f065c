"""Tasks: what the two sides of a pair are, and how they are asked. One YAML file each.

Shipped tasks are the files in ``tasks/`` beside this module. The two sides have free names (safe and harmful, positive
and negative), and examples are keyed by them. Examples are shown to models that propose pairs, so a wrong one teaches
the wrong rule: every example is put through the validator, and loading says which does not pass.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from latentext.spec import Frozen
from latentext.studies.pairs import documents
from latentext.studies.pairs.checks import PairCheck
from latentext.studies.pairs.forms import Form
from latentext.studies.pairs.tokenizer import PairTokenizer
from latentext.studies.pairs.validation import validate_pairs

_logger = logging.getLogger(__name__)


class Surroundings(Frozen):
    """The text before and after a task."""

    prefix: str
    suffix: str


class Templates(Frozen):
    """How a task is asked: for an answer of one token, and for one of many."""

    single_token: Surroundings
    multi_token: Surroundings


class PairTask(Frozen):
    """A task file.

    Attributes:
        task_name: stands in every line of a dataset.
        description: one sentence.
        sides: names of the prompt's side and the counterfactual's side.
        templates: the text around a task in each form.
        answers: what the single-token form is answered with, for `check_answers`.
        examples: pairs of tasks, keyed by the sides.
        generation_instructions: what a model that proposes pairs is told.
        batch_size: pairs asked for in one request.
    """

    task_name: Annotated[str, Field(min_length=1)]
    description: str
    sides: tuple[str, str] = ("safe", "harmful")
    templates: Templates
    answers: tuple[str, ...] = ()
    examples: tuple[dict[str, str], ...]
    generation_instructions: str
    batch_size: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _examples_have_both_sides(self) -> Self:
        if len(set(self.sides)) < 2:
            raise ValueError(f"sides must be two different names, not {self.sides[0]!r} twice")
        for number, example in enumerate(self.examples):
            if set(example) != set(self.sides):
                raise ValueError(f"examples.{number} has the keys {sorted(example)}, not {sorted(self.sides)}")
        return self

    @property
    def forms(self) -> tuple[Form, Form]:
        """The single-token form and the multi-token form, in the order in which datasets hold them."""
        single, multi = self.templates.single_token, self.templates.multi_token
        return Form("single_token", single.prefix, single.suffix), Form("multi_token", multi.prefix, multi.suffix)

    @property
    def example_pairs(self) -> tuple[tuple[str, str], ...]:
        """The examples as (prompt, counterfactual)."""
        first, second = self.sides
        return tuple((example[first], example[second]) for example in self.examples)


def load_task(name: str, *, config_dir: Path | None = None, tokenizers: Sequence[PairTokenizer] = ()) -> PairTask:
    """Load a task; with tokenizers, say in the log which of its examples do not hold under them.

    Args:
        name: ``refusal``, ``sentiment``, a name in `config_dir`, or the path of a YAML file.
        config_dir: the user's folder of task files, searched before the shipped ones.
        tokenizers: what the examples are checked with.

    Raises:
        SpecError: no such task, or its file lacks keys (they are named) or has unknown ones.

    Example:
        >>> load_task("refusal").sides
        ('safe', 'harmful')
    """
    path = documents.find("tasks", name, config_dir)
    task = documents.read(path, PairTask)
    for number, check in failing_examples(task, tokenizers):
        _logger.warning("%s: example %d is no valid pair: %s", path.name, number, check.describe())
    return task


def failing_examples(task: PairTask, tokenizers: Sequence[PairTokenizer]) -> Iterator[tuple[int, PairCheck]]:
    """The number (from 1) and the finding of every example that is not valid under the tokenizers."""
    checks = validate_pairs(task.example_pairs, tokenizers, task.forms) if tokenizers else ()
    return ((number, check) for number, check in enumerate(checks, start=1) if not check.valid)
