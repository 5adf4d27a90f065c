"""Batches as scripts make them: prompts padded on the left, and rows cut where a text ended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from peers.files import read_rows, save_rows
from peers.serving import Job, Written


def left_padded(job: Job) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask [texts, longest prompt]."""
    longest = max(map(len, job.prompts))
    ids = [[job.pad] * (longest - len(p)) + p for p in job.prompts]
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in job.prompts]
    return torch.tensor(ids), torch.tensor(mask)


def cut(new: torch.Tensor, ends: Sequence[int], forced: bool) -> list[list[int]]:
    """The generated tokens [texts, steps] of each text, up to its first end token (which counts)."""
    texts = new.tolist()
    if forced:
        return texts
    stops = frozenset(ends)
    return [row[: next((i + 1 for i, token in enumerate(row) if token in stops), len(row))] for row in texts]


def keep(job: Job, new: torch.Tensor, sites: Sequence[Sequence[torch.Tensor]]) -> Written:
    """Save what a batch gave.

    Args:
        new: generated tokens [texts, steps].
        sites: for each site, the states [texts, positions, width] of every step; the last position is the one wanted.
    """
    texts = cut(new, job.ends, job.forced)
    wanted = torch.tensor([[step < len(text) for step in range(new.shape[1])] for text in texts])
    rows = [torch.stack([s[:, -1] for s in steps[: new.shape[1]]], 1)[wanted].float().numpy() for steps in sites]
    save_rows(job.folder, texts, rows)
    return Written(sum(map(len, texts)), lambda count: read_rows(job.folder, count))


def passes(job: Job, most_tokens: int = 8192) -> list[list[int]]:
    """Numbers of given texts, longest first, in groups that make at most so many tokens with padding."""
    lengths = [len(p) + len(g) for p, g in zip(job.prompts, job.given, strict=True)]
    waiting = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    groups = []
    while waiting:
        size = max(1, most_tokens // lengths[waiting[0]])
        groups.append(waiting[:size])
        del waiting[:size]
    return groups


def right_padded(job: Job, group: Sequence[int]) -> torch.Tensor:
    """Prompts with the tokens that follow them, in which causal attention alone keeps padding out."""
    texts = [job.prompts[i] + job.given[i] for i in group]
    longest = max(map(len, texts))
    return torch.tensor([text + [job.pad] * (longest - len(text)) for text in texts])


def keep_given(job: Job, found: dict[int, list[np.ndarray]]) -> Written:
    """Save the rows of given texts: for each text, one array [tokens, width] a site."""
    rows = [np.concatenate([found[i][site] for i in range(len(found))]) for site in range(len(job.blocks))]
    save_rows(job.folder, job.given, rows)
    return Written(sum(map(len, job.given)), lambda count: read_rows(job.folder, count))
