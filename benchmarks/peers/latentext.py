"""Our own rows with transformers: states in flight, and a replay of given texts; files as a run writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentext.dataset.records import write_records
from latentext.dataset.states import StatesWriter
from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model
from latentext.request import Completion, Request, StateRows
from latentext.spec import Decoding, ModelSpec, StatesSpec
from latentext.states.replay import WrittenText, replay
from peers.serving import Job, Text, Way, Written, serve


def load(folder: Path) -> Mapping[str, Way]:
    """The engine with its defaults."""
    engine = TransformersEngine(load_model(ModelSpec(name=str(folder), dtype="float32", device="cpu")))
    return {"in flight": lambda job: in_flight(engine, job), "given": lambda job: given(engine.loaded, job)}


def requests_of(job: Job) -> list[Request]:
    """The prompts as an engine takes them."""
    return [Request(i, f"{i:032x}", {}, [], "", prompt) for i, prompt in enumerate(job.prompts)]


def decoding_of(job: Job) -> Decoding:
    """Greedy, of the job's length."""
    return Decoding(max_new_tokens=job.tokens, min_new_tokens=job.tokens if job.forced else 0)


def sites_of(job: Job) -> tuple[str, ...]:
    """The job's blocks by the names that sites have here."""
    return tuple(f"resid_post.{block}" for block in job.blocks)


def in_flight(engine: Any, job: Job, ends: frozenset[int] | None = None) -> Written:
    """All prompts as one shard; states and records written and synced."""
    if ends is None and isinstance(engine, TransformersEngine):
        engine = TransformersEngine(replace(engine.loaded, eos_token_ids=frozenset(job.ends)))
    requests = requests_of(job)
    capture = Capture(StatesSpec(sites=sites_of(job)), sites_of(job))
    results = engine.generate(requests, range(1), decoding_of(job), 0, capture=capture)
    completions: list[Completion] = []

    def rows() -> Iterable[StateRows]:
        for result in results:
            assert isinstance(result, Generated), result
            assert result.states is not None
            completions.append(result.completion)
            yield result.states

    write_states(job, rows())
    write_records(job.folder / "00000.parquet", requests, sorted(completions, key=lambda c: c.index))
    return Written(sum(len(c.token_ids) for c in completions), lambda count: read_states(job, count))


def given(loaded: LoadedModel, job: Job) -> Written:
    """A replay of the job's texts."""
    texts = [WrittenText(i, 0, p, g) for i, (p, g) in enumerate(zip(job.prompts, job.given, strict=True))]
    spec = StatesSpec(sites=sites_of(job))
    write_states(job, replay(loaded.layout, texts, spec, sites_of(job), dtype=torch.float32))
    return Written(sum(map(len, job.given)), lambda count: read_states(job, count))


def write_states(job: Job, texts: Iterable[StateRows]) -> None:
    """As a shard of a run, through the writer that a run uses."""
    writer = None
    for text in texts:
        if writer is None:
            widths = {site: tensor.shape[1] for site, tensor in text.tensors.items()}
            writer = StatesWriter(job.folder, 0, widths, torch.float32)
        writer.add(text)
    assert writer is not None, "no text was written"
    writer.close()


def read_states(job: Job, count: int) -> list[Text]:
    """The first texts, read back with plain safetensors (a shard this small is one part)."""
    from safetensors.numpy import load_file

    content = load_file(job.folder / "00000-000.safetensors")
    ends = np.flatnonzero(content["remaining"] == 0)[:count] + 1
    texts: list[Text] = []
    for first, end in zip([0, *ends], ends, strict=False):
        texts.append(
            (content["token_id"][first:end].tolist(), np.stack([content[s][first:end] for s in sites_of(job)]))
        )
    return texts


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "latentext"])
