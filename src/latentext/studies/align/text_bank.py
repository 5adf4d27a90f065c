"""A dataset directory read as a sample bank: its rewards as numbers, and which prompts they belong to.

A prompt that has no text, or of which a sample has no finite score, cannot be weighed like the others. It is left out
by name and reason, never silently.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.views import failure_lines
from latentext.errors import DatasetError, SpecError
from latentext.plan.note import PlanNote
from latentext.rewards.entries import BUILT_IN, known_name, names_code
from latentext.studies.align import Bank, read_bank
from latentext.studies.align.reading import scored_places


@dataclass(frozen=True)
class TextBank:
    """A bank and the texts it stands for.

    Attributes:
        dataset: holds the texts.
        bank: their rewards.
        indices: the request of each prompt of the bank, ascending.
        left_out: planned requests that are not in the bank, with the reason.
        unfinished: values that are not in the bank because they were scored for fewer texts, in a line each.
        finishing: the command that scores the rest by the values of the bank; empty where nothing is missing, or where
            another command would.
    """

    dataset: Dataset
    bank: Bank
    indices: tuple[int, ...]
    left_out: Mapping[int, str]
    unfinished: tuple[str, ...] = ()
    finishing: str = ""

    @property
    def planned(self) -> int:
        """Prompts of the plan, or of the range of it that was asked for."""
        return len(self.indices) + len(self.left_out)

    @property
    def warnings(self) -> list[str]:
        """Lines on what is left out, prompts with the first reason; empty when nothing is."""
        return [*self.unfinished, *self._left_out_in_words()]

    def _left_out_in_words(self) -> list[str]:
        if not self.left_out:
            return []
        first, reason = next(iter(self.left_out.items()))
        count = len(self.left_out)
        prompts = "1 prompt is" if count == 1 else f"{count:,} prompts are"
        used = f"{len(self.indices):,} of {self.planned:,} prompts are used"
        finishing = f"; to score the rest: {self.finishing}" if self.finishing else ""
        return [f"{used}: {prompts} left out; the first is prompt {first}: {reason}{finishing}"]


def open_bank(
    directory: str | Path,
    values: Sequence[str] = (),
    *,
    requests: range | None = None,
    samples: int | None = None,
    others: bool = False,
) -> TextBank:
    """Open a dataset directory as a bank.

    Args:
        values: the rewards; all that the directory has when left out, but for those that are scored for fewer texts.
        others: take other rewards too, where every text that has a score by each of `values` has one by them.
        requests: only these prompts.
        samples: only the first samples of each prompt.

    Raises:
        SpecError: no rewards, fewer samples than asked for, samples that are all alike because they were sampled at
            temperature 0, or no prompt with all its samples scored.
        DatasetError: no dataset, or one without these scores.
    """
    dataset = open_dataset(directory)
    names = list(values)
    if others and (known := [name for name in values if name in dataset.score_sets]):
        names = _covering(dataset, known, requests, samples)
    elif not values or others:
        names = _furthest_scored(dataset)
    _check_scored(dataset, names)
    if dataset.spec.decoding.temperature == 0:
        raise SpecError(
            "was sampled at temperature 0: all samples of a prompt are the same text, and no λ can choose",
            where=str(directory),
            remedy="make a bank with decoding.temperature above 0",
        )
    bank, incomplete = read_bank(dataset, names, requests=requests, samples=samples)
    if samples is not None and bank.samples < samples:
        raise SpecError(
            f"has {bank.samples} samples a prompt, not {samples}", where=str(directory), remedy="raise decoding.n"
        )
    numbers = _requests_by_key(dataset)
    indices = tuple(numbers[key] for key in bank.keys)
    fewer = _scored_for_fewer(dataset, names)
    left_out = _unready(dataset, fewer, requests, set(indices), set(numbers.values()))
    left_out |= dict(_reasons(dataset, names, incomplete, requests, set(indices)))
    unfinished = _unfinished(dataset, names) if not values or others else ()
    finishing = score_command(dataset, fewer[0]) if len(fewer) == 1 else ""
    return TextBank(dataset, bank, indices, dict(sorted(left_out.items())), unfinished, finishing)


def prompts_without_text(dataset: Dataset) -> dict[int, str]:
    """Requests that gave no text, with the reason."""
    return {
        int(failure["index"]): str(failure["message"])
        for failure in _failures(dataset)
        if str(failure["stage"]).startswith("records/") and failure["sample"] == 0
    }


def _furthest_scored(dataset: Dataset) -> list[str]:
    """All values that are scored for as many texts as any is."""
    texts = {name: dataset.scored_texts(name) for name in _in_order(dataset)}
    return [name for name in texts if texts[name] == max(texts.values())]


def _covering(dataset: Dataset, values: Sequence[str], requests: range | None, samples: int | None) -> list[str]:
    """These values, and all others that take no text from them."""
    places = {name: scored_places(dataset, name, requests=requests, samples=samples) for name in dict.fromkeys(values)}
    wanted = reduce(np.intersect1d, places.values())

    def covers(name: str) -> bool:
        scored = scored_places(dataset, name, requests=requests, samples=samples)
        return bool(np.isin(wanted, scored).all())

    return [name for name in _in_order(dataset) if name in places or covers(name)]


def _scored_for_fewer(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """Values that are not scored for every text that is there."""
    texts = sum(receipt.rows for receipts in dataset.record_receipts.values() for receipt in receipts.values())
    return [name for name in names if dataset.scored_texts(name) < texts]


def _unready(
    dataset: Dataset, fewer: Sequence[str], requests: range | None, kept: set[int], written: set[int]
) -> dict[int, str]:
    """Planned requests that a run has not come to yet."""
    note = PlanNote.read(dataset.directory / layout.PLAN)
    planned = range(dataset.plan_count if note is None else note.planned)
    scored = f"not scored by {' and '.join(fewer)} yet" if fewer else "not all its samples are there with a score"
    return {
        index: scored if index in written else "it has no text yet"
        for index in planned
        if index not in kept and (requests is None or index in requests)
    }


def _unfinished(dataset: Dataset, names: Sequence[str]) -> tuple[str, ...]:
    most = max(map(dataset.scored_texts, names), default=0)
    return tuple(
        f"{name} is left out: scored are {dataset.scored_texts(name):,} of {most:,} texts"
        for name in dataset.score_sets
        if name not in names
    )


def _in_order(dataset: Dataset) -> list[str]:
    """All that is scored, in the order in which the spec asks for it.

    Nothing that the spec names is imported: rewards whose names only their Python files know take the places that are
    left, in the order of their names.
    """
    asked = [known_name(entry) for entry in dataset.spec.rewards]
    others = iter(sorted(name for name in dataset.score_sets if name not in asked))
    placed = [next(others, None) if name is None else name for name in asked]
    return [name for name in (*placed, *others) if name in dataset.score_sets]


def _check_scored(dataset: Dataset, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in dataset.score_sets]
    if missing:
        scored = ", ".join(dataset.score_sets) or "none"
        raise DatasetError(
            f"no scores of {', '.join(missing)}; scored are: {scored}",
            where=str(dataset.directory),
            remedy=score_command(dataset, missing[0]) or f"values with a name are {', '.join(BUILT_IN)}",
        )


def score_command(dataset: Dataset, name: str) -> str:
    """The command that scores a dataset by a value; empty where none is known by that name."""
    command = f"latentext score {shlex.quote(str(dataset.directory))}"
    for entry in dataset.spec.rewards:
        if known_name(entry) == name and not names_code(entry):
            return command  # The dataset names it.
    code = [entry for entry in dataset.spec.rewards if names_code(entry)]
    own = next((entry for entry in code if known_name(entry) == name), None)
    if own is None and name not in BUILT_IN and name in dataset.score_sets and len(code) == 1:
        own = code[0]  # Only its Python file knows its name.
    if own is not None:
        return f"{command} --reward {shlex.quote(own if isinstance(own, str) else json.dumps(dict(own)))}"
    return f"{command} --reward {name}" if name in BUILT_IN else ""


def _requests_by_key(dataset: Dataset) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in dataset.iter_records(["index", "key"]):
        found.update(zip(table["key"].to_pylist(), table["index"].to_pylist(), strict=True))
    return found


def _reasons(
    dataset: Dataset, names: Sequence[str], incomplete: Sequence[int], requests: range | None, kept: set[int]
) -> Iterator[tuple[int, str]]:
    """Why requests have no place in the bank; what the receipts say comes last, and so counts."""
    yield from ((index, "not all its samples are there with a score") for index in incomplete)
    for failure in _failures(dataset):
        index, stage = int(failure["index"]), str(failure["stage"])
        ours = stage.startswith("records/") or str(failure["message"]).partition(":")[0] in names
        if ours and index not in kept and (requests is None or index in requests):
            yield index, f"sample {failure['sample']}: {failure['message']}"


def _failures(dataset: Dataset) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in failure_lines(dataset.directory))
