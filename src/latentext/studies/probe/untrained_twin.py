"""Untrained twins: the model's architecture with random weights, reading the very same token ids.

Random networks keep much of what they read: the tokens so far, and with them the position, can be had from their
states by a linear probe. What a probe finds in a trained model counts only as far as it exceeds what the same probe
finds in these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from latentext.dataset.reader import Dataset
from latentext.dataset.stages import tensor_name
from latentext.engines.transformers.loading import choose_device
from latentext.models.pretrained import read_config, untrained_model
from latentext.models.resolve import resolve_model
from latentext.phases import phase
from latentext.probes.rows import Block, Numbers, ProbeRows
from latentext.spec import ModelSpec, Pool, StatesSpec
from latentext.spec.files import resolve_inputs
from latentext.states.layout import ModelLayout, find_layout
from latentext.states.replay import WrittenText, replay

_TEXTS_PER_BLOCK = 32
"""Texts whose states are in memory at a time."""


@dataclass(frozen=True)
class UntrainedTwin:
    """States of a dataset's texts in a model with random weights: a source of states for probes.

    Attributes:
        sites: as the dataset captured them.
        seed: of the weights.
        pool: how states are pooled; a text then has one row. A mean weighted by entropy takes the entropies of the
            model that wrote the texts.
    """

    dataset: Dataset
    sites: Sequence[str]
    seed: int
    pool: Pool = "none"

    @cached_property
    def layout(self) -> ModelLayout:
        """The random model, made on first use."""
        return random_model(resolve_inputs(self.dataset.spec, self.dataset.directory).model, self.seed)

    @property
    def widths(self) -> Mapping[str, int]:
        return {site: self.layout.width(site) for site in self.sites}

    def blocks(self, rows: ProbeRows) -> Iterator[Block]:
        """Rows of a few texts at a time; a text is replayed once, however many of its rows are asked for."""
        begin = 0
        wanted = StatesSpec(pool=(self.pool,))
        for texts in _texts(self.dataset, rows.record, entropies=self.pool == "entropy_mean"):
            made = {}
            with phase("reading texts", len(texts)) as reading:
                for text in replay(self.layout, texts, wanted, tuple(self.sites), dtype=torch.float32):
                    made[text.index] = text.tensors
                    reading.moved()
            first = int(np.searchsorted(rows.record, texts[0].index))
            steps = rows.steps[first : first + len(texts)].tolist()
            yield Block(
                range(begin, begin + sum(steps)),
                lambda site, texts=texts, made=made, steps=steps: torch.cat(  # type: ignore[misc]
                    [
                        made[text.index][tensor_name(site, self.pool)][:count]
                        for text, count in zip(texts, steps, strict=True)
                    ]
                ).numpy(),
            )
            begin += sum(steps)


def random_model(model: ModelSpec, seed: int) -> ModelLayout:
    """A model as this one is initialised before training, in float32.

    Raises:
        SpecError, CredentialsError: the model's configuration is not on this machine and cannot be fetched.
    """
    source = resolve_model(model.name, model.revision)
    trusted = model.trust_remote_code
    config = read_config(source, trust_remote_code=trusted)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = untrained_model(AutoModelForCausalLM, source, config, dtype=torch.float32, trust_remote_code=trusted)
    network = network.eval().to(choose_device(model.device))
    return find_layout(network, config.get_text_config().vocab_size)


def _texts(dataset: Dataset, records: Numbers, *, entropies: bool) -> Iterator[list[WrittenText]]:
    """The texts with these row numbers in ``dataset.records()``, a few at a time, each with its number as its index."""
    before, group = 0, list[WrittenText]()
    for table in dataset.iter_records(["prompt_token_ids", "token_ids", *["entropies"] * entropies]):
        here = records[np.searchsorted(records, before) : np.searchsorted(records, before + table.num_rows)]
        for number, row in zip(here.tolist(), table.take(here - before).to_pylist(), strict=True):
            group.append(WrittenText(number, 0, row["prompt_token_ids"], row["token_ids"], row.get("entropies")))
            if len(group) == _TEXTS_PER_BLOCK:
                yield group
                group = []
        before += table.num_rows
    if group:
        yield group
