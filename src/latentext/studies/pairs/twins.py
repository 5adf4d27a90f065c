"""The states of both twins of a pair, from a dataset that was made of a pairs file.

Rows of the two are the same positions, so they can be subtracted, patched or compared as they are. Everything before
the token that differs is equal up to rounding, for a causal model has read the same until there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latentext.errors import DatasetError
from latentext.spec import TWINS

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Twins:
    """A pair with its states at one site.

    Attributes:
        scenario_id: as the pairs file has it.
        form: ``single_token`` or ``multi_token``.
        token_ids: of prompt and counterfactual, as the model read them (BOS included): [positions] each.
        differing: the position of the token that differs.
        prompt: states [positions, width]; row p stands on token p.
        counterfactual: the same of the counterfactual.
    """

    scenario_id: int
    form: str
    token_ids: tuple[Array, Array]
    differing: int
    prompt: Array
    counterfactual: Array


def twins(dataset: Dataset, site: str | int, *, capture: str | None = None) -> Iterator[Twins]:
    """The pairs of a dataset with their states, one pair at a time.

    Args:
        dataset: made of a spec with ``prompts.pairs`` and ``states.positions: text``.
        site: a name or a Hugging Face index.
        capture: where several hold the site.

    Raises:
        DatasetError: the site was not captured at all positions, or the dataset was not made of pairs.

    Example:
        >>> import latentext                                                               # doctest: +SKIP
        >>> for pair in twins(latentext.open_dataset("data/refusal_pairs"), "resid_post.2"):       # doctest: +SKIP
        ...     change = pair.counterfactual - pair.prompt                                 # [positions, width]
    """
    if dataset.spec.prompts.pairs is None:
        raise DatasetError(
            "was not made of pairs", where=str(dataset.directory), remedy="run a spec with prompts.pairs"
        )
    states = dataset.states(site, positions="text", capture=capture)
    for number in dataset.shard_numbers:
        table = dataset.shard_records(number, ["index", "variables", "prompt_token_ids"])
        rows = iter(table.to_pylist())
        for first, second in zip(rows, rows, strict=True):
            variables = json.loads(first["variables"])
            if second["index"] != first["index"] + 1 or variables["twin"] != TWINS[0]:
                what = f"request {first['index']} has no twin beside it"
                raise DatasetError(what, where=str(dataset.directory), remedy="run the same command again")
            ids = np.array([first["prompt_token_ids"], second["prompt_token_ids"]], np.int32)
            yield Twins(
                variables["scenario_id"],
                variables["form"],
                (ids[0], ids[1]),
                int(np.flatnonzero(ids[0] != ids[1])[0]),
                states[states.text(first["index"])],
                states[states.text(second["index"])],
            )
