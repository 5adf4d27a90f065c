"""nnsight: a traced generation of one batch whose cache keeps the outputs of the wanted blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from peers.batches import keep, left_padded
from peers.serving import Job, Way, Written, serve


def load(folder: Path) -> Mapping[str, Way]:
    """nnsight's model for transformers, its weights in memory."""
    from nnsight.modeling.transformers import TransformersModel

    model = TransformersModel(str(folder), task="text-generation", dispatch=True, dtype=torch.float32)
    return {"generate": lambda job: generate(model, job)}


def generate(model: Any, job: Job) -> Written:
    """``tracer.cache`` over the generation; a module is recorded once a step."""
    ids, mask = left_padded(job)
    blocks = [model.model.layers[block] for block in job.blocks]
    settings = {
        "max_new_tokens": job.tokens,
        "min_new_tokens": job.tokens if job.forced else 1,
        "do_sample": False,
        "pad_token_id": job.pad,
        "eos_token_id": job.ends,
    }
    with torch.no_grad(), model.generate({"input_ids": ids, "attention_mask": mask}, **settings) as tracer:
        cache = tracer.cache(modules=blocks)
        result = tracer.result.save()
    sites = []
    for block in blocks:
        outputs = cache[block.path].output
        steps = outputs if isinstance(outputs, list) else [outputs]
        sites.append([step[0] if isinstance(step, tuple) else step for step in steps])
    return keep(job, result[:, ids.shape[1] :], sites)


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "nnsight"])
