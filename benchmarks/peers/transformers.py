"""Plain transformers: the way of batch-1 scripts, generation alone, one batch, and the reference of all others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from peers.batches import keep, left_padded
from peers.serving import Job, Text, Way, Written, serve


def load(folder: Path) -> Mapping[str, Way]:
    """The model as ``from_pretrained`` gives it, in float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return {
        "seeds": lambda job: one_by_one(model, job, states=True),
        "plain": lambda job: one_by_one(model, job, states=False),
        "batched": lambda job: batched(model, job),
        "reference": lambda job: reference(model, job),
    }


def options(job: Job) -> dict[str, Any]:
    """Greedy decoding of a job, as keywords of ``generate``."""
    return {
        "max_new_tokens": job.tokens,
        "min_new_tokens": job.tokens if job.forced else 1,
        "do_sample": False,
        "pad_token_id": job.pad,
        "eos_token_id": job.ends,
        "return_dict_in_generate": True,
    }


def one_by_one(model: Any, job: Job, *, states: bool) -> Written:
    """One prompt at a time. With states, as scripts in the field do it: every layer of every step is kept until the
    text is done, the wanted layers are put side by side, and one npy file is written at the end, not synced."""
    texts: list[list[int]] = []
    rows: list[np.ndarray] = []
    remaining: list[int] = []
    for prompt in job.prompts:
        ids = torch.tensor([prompt])
        with torch.no_grad():
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), output_hidden_states=states, **options(job)
            )
        new = output.sequences[0, len(prompt) :].tolist()
        texts.append(new)
        if states:
            for step in range(len(new)):
                layers = [output.hidden_states[step][block + 1][0, -1] for block in job.blocks]
                rows.append(np.concatenate([layer.float().cpu().numpy() for layer in layers]))
                remaining.append(len(new) - 1 - step)
    if not states:
        return Written(sum(map(len, texts)))
    np.save(job.folder / "hidden_states.npy", np.array(rows))
    np.save(job.folder / "remaining_tokens.npy", np.array(remaining))

    def read(count: int) -> list[Text]:
        saved = np.load(job.folder / "hidden_states.npy")
        ends = np.cumsum([len(text) for text in texts])
        return [
            (ids, np.stack(np.split(saved[end - len(ids) : end], len(job.blocks), axis=1)))
            for ids, end in zip(texts[:count], ends, strict=False)
        ]

    return Written(sum(map(len, texts)), read)


def batched(model: Any, job: Job) -> Written:
    """All prompts as one batch that keeps every layer of every step."""
    ids, mask = left_padded(job)
    with torch.no_grad():
        output = model.generate(ids, attention_mask=mask, output_hidden_states=True, **options(job))
    sites = [[step[block + 1] for step in output.hidden_states] for block in job.blocks]
    return keep(job, output.sequences[:, ids.shape[1] :], sites)


def reference(model: Any, job: Job) -> Written:
    """States of given texts, one text a pass without any padding: what all others are compared with."""

    def read(count: int) -> list[Text]:
        texts: list[Text] = []
        for prompt, given in zip(job.prompts[:count], job.given[:count], strict=True):
            with torch.no_grad():
                hidden = model(torch.tensor([prompt + given]), output_hidden_states=True).hidden_states
            rows = slice(len(prompt) - 1, len(prompt) + len(given) - 1)
            texts.append((given, np.stack([hidden[block + 1][0, rows].float().numpy() for block in job.blocks])))
        return texts

    return Written(0, read)


if __name__ == "__main__":
    serve(load, ["torch", "transformers"])
