"""TransformerLens: generation under hooks that keep the wanted residuals, and ``run_with_cache`` on given texts.

Its own ``generate(return_cache=True)`` takes single texts only and is a pass over the finished text, so a batch is
generated with hooks on ``blocks.k.hook_resid_post`` (``hook_out`` of a block in its bridge), which is how its
documentation keeps activations of a generation. It has no least length: forced texts go on after an end token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peers.batches import keep, keep_given, left_padded, passes, right_padded
from peers.serving import Job, Way, Written, serve


def load(folder: Path) -> Mapping[str, Way]:
    """The bridge around the model that transformers loads: weights as they are, nothing folded or centred."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    inner = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bridge = TransformerBridge.boot_transformers(
        str(folder), hf_model=inner, tokenizer=tokenizer, dtype=torch.float32, device="cpu"
    )
    return {"generate": lambda job: generate(bridge, job), "given": lambda job: given(bridge, job)}


def generate(bridge: Any, job: Job) -> Written:
    """One batch, left-padded, with hooks on the wanted blocks."""
    from transformers.generation.stopping_criteria import EosTokenCriteria

    ids, mask = left_padded(job)
    sites: list[list[torch.Tensor]] = [[] for _ in job.blocks]

    def keeping(steps: list[torch.Tensor]) -> Any:
        def hook(value: torch.Tensor, hook: Any) -> None:
            steps.append(value[:, -1:].clone())

        return hook

    hooks = [(_name(block), keeping(steps)) for block, steps in zip(job.blocks, sites, strict=True)]
    stopping = {} if job.forced else {"stopping_criteria": [EosTokenCriteria(job.ends)]}
    with torch.no_grad(), bridge.hooks(fwd_hooks=hooks):
        output = bridge.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=job.tokens,
            stop_at_eos=False,
            do_sample=False,
            return_type="tokens",
            verbose=False,
            **stopping,
        )
    return keep(job, output[:, ids.shape[1] :], sites)


def given(bridge: Any, job: Job) -> Written:
    """``run_with_cache`` on right-padded texts, only the wanted residuals kept, stopped after the deepest."""
    names = [_name(block) for block in job.blocks]
    found: dict[int, list[np.ndarray]] = {}
    for group in passes(job):
        with torch.no_grad():
            _, cache = bridge.run_with_cache(
                right_padded(job, group), names_filter=names, stop_at_layer=max(job.blocks) + 1
            )
        for row, number in enumerate(group):
            first = len(job.prompts[number]) - 1
            rows = slice(first, first + len(job.given[number]))
            found[number] = [cache[name][row, rows].float().numpy() for name in names]
    return keep_given(job, found)


def _name(block: int) -> str:
    return f"blocks.{block}.hook_out"


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "transformer-lens"])
