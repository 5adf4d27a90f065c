"""What "the same states" means in fp32: DESIGN's tolerance, row by row."""

from __future__ import annotations

import torch


def assert_same_states(actual: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """max|Δ| of each row ≤ 1e-4 · max(1, rms of the row)."""
    assert actual.shape == expected.shape, f"{what}: {tuple(actual.shape)} is not {tuple(expected.shape)}"
    actual, expected = actual.double(), expected.double()
    if not len(actual):
        return
    allowed = 1e-4 * expected.pow(2).mean(-1).sqrt().clamp(min=1.0)
    worst = ((actual - expected).abs().amax(-1) / allowed).max().item()
    assert worst <= 1.0, f"{what}: {worst:.2g} times the tolerance"
